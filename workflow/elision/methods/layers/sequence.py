"""Encoder of the steps of one modality, of the methods of Li et al. (HRLF, CorrKD, UMDF).

Padding is not attended. A modality without a valid frame is read as one frame of zeros.
"""

import torch
from torch import Tensor, nn

from elision.batch import Sequence
from elision.methods.layers.crossmodal import sinusoids


class SequenceEncoder(nn.Module):
    """Convolution over time, positions and a transformer (HRLF, section 3.3).

    Parameters
    ----------
    inputs, width : int
        Of the frames, and of the vector.
    heads, layers, kernel, feed_forward : int
    dropout : float
        On attention weights, inside the feed-forward layers and before each residual.
    pre_norm : bool
        Normalise before attention and feed-forward layers, and once more at the end; else after each.
    bias : bool
        Of the convolution.
    last_index : bool
        The vector of a sequence is the last step of the padded sequence, instead of the last valid one.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        heads: int,
        layers: int,
        kernel: int,
        feed_forward: int,
        dropout: float,
        pre_norm: bool,
        bias: bool,
        last_index: bool = False,
    ) -> None:
        super().__init__()
        self.last_index = last_index
        self.convolution = nn.Conv1d(inputs, width, kernel, padding="same", bias=bias)
        # Not nn.TransformerEncoder, which copies one layer, so that all start with the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, feed_forward, dropout, batch_first=True, norm_first=pre_norm)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()

    def encode(self, sequence: Sequence) -> tuple[Tensor, Tensor]:
        """Return the steps [B, T, width] before the last layer norm, and which of them are attended [B, T]."""
        x = self.convolution(sequence.values.transpose(1, 2)).transpose(1, 2)
        # Those of ones: zeros would count as padding, and lost frames have a position like any other.
        x = x + sinusoids(torch.ones_like(x))
        attended = sequence.valid.clone()
        attended[:, 0] |= ~sequence.valid.any(1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~attended)
        return x, attended

    def steps(self, sequence: Sequence) -> tuple[Tensor, Tensor]:
        """Return all steps [B, T, width], and which of them are the sequence [B, T]: at least one of each sample."""
        x, attended = self.encode(sequence)
        return self.norm(x), attended

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, width]."""
        x, attended = self.encode(sequence)
        if self.last_index:
            return self.norm(x[:, -1])
        last = (attended * torch.arange(x.shape[1], device=x.device)).amax(1)
        return self.norm(x[torch.arange(len(x), device=x.device), last])
