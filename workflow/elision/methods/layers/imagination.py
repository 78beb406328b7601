"""Autoencoders that complete a fused vector of which parts are missing: of CRA, MMIN and their descendants."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def perceptron(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers between consecutive ``widths``, with an activation after each but the last."""
    layers: list[nn.Module] = []
    for width_in, width in pairwise(widths):
        layers += [nn.Linear(width_in, width), activation()]
    return nn.Sequential(*layers[:-1])


class ResidualAutoencoder(nn.Module):
    """Cascaded residual autoencoder (Tran et al., CVPR 2017; MMIN, section 3.2).

    Each block reads what went into the block before plus what came out of it. With u_0 = x and d_0 = 0, block i has
    u_i = u_{i-1} + d_{i-1}, z_i = encoder_i(u_i), d_i = decoder_i(z_i); the output is transition(u_n + d_n).

    Parameters
    ----------
    width : int
        Of input and output.
    layers : sequence of int
        Widths of a block's encoder; the last has no activation. The decoder mirrors them.
    blocks : int

    Attributes
    ----------
    latent_width : int
    """

    def __init__(self, width: int = 384, layers: Sequence[int] = (256, 128, 64), blocks: int = 5) -> None:
        super().__init__()
        down = [width, *layers]
        self.latent_width = blocks * layers[-1]
        self.encoders = nn.ModuleList(perceptron(down, nn.LeakyReLU) for _ in range(blocks))
        self.decoders = nn.ModuleList(perceptron(down[::-1], nn.ReLU) for _ in range(blocks))
        self.transition = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Complete x [B, width].

        Returns
        -------
        output : Tensor [B, width]
        latent : Tensor [B, latent_width]
            z of all blocks, side by side.
        """
        latent = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            latent.append(encode(x))
            x = x + decode(latent[-1])
        return self.transition(x), torch.cat(latent, 1)


class InvariantAutoencoder(ResidualAutoencoder):
    """Cascade in which every block reads a modality-invariant vector beside the block before (IF-MMIN, section 2.3).

    With d_0 = x, block i has u_i = d_{i-1} + invariant, z_i = encoder_i(u_i), d_i = decoder_i(z_i); the output is
    transition(d_n), or, with ``residual``, transition(u_n + d_n).

    Parameters
    ----------
    width, layers, blocks
        As in `ResidualAutoencoder`.
    residual : bool
        As in the official code of CIF-MMIN; False: as in that of IF-MMIN.
    """

    def __init__(
        self, width: int = 384, layers: Sequence[int] = (256, 128, 64), blocks: int = 5, *, residual: bool = False
    ) -> None:
        super().__init__(width, layers, blocks)
        self.residual = residual

    def forward(self, x: Tensor, invariant: Tensor) -> tuple[Tensor, Tensor]:
        """Complete x [B, width] with an invariant vector of the same shape; returns what its base class does."""
        latent = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            before = x + invariant
            latent.append(encode(before))
            x = decode(latent[-1])
        return self.transition(before + x if self.residual else x), torch.cat(latent, 1)


class PlainAutoencoder(nn.Module):
    """Autoencoder of the AE baselines: a leaky ReLU after every layer, and a ReLU after the last.

    Its output is not negative, unlike the hidden states of an LSTM that it is to complete.

    Parameters
    ----------
    width : int
        Of input and output.
    layers : sequence of int
        Widths of the encoder; the decoder mirrors them.

    Attributes
    ----------
    latent_width : int
    """

    def __init__(self, width: int, layers: Sequence[int]) -> None:
        super().__init__()
        down = [width, *layers]
        self.latent_width = layers[-1]
        self.encoder = nn.Sequential(perceptron(down, nn.LeakyReLU), nn.LeakyReLU())
        self.decoder = nn.Sequential(perceptron(down[::-1], nn.LeakyReLU), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Complete x [B, width]; returns the output [B, width] and the latent [B, latent_width]."""
        latent = self.encoder(x)
        return self.decoder(latent), latent
