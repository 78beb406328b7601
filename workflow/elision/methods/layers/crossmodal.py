"""Crossmodal transformer of MulT, TETFN and TFR-Net, after MMSA's code (fairseq style, pre-norm).

No padding is masked: padded frames are attended like any other.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossmodalLayer(nn.Module):
    """Attention to keys and values, then a feed-forward layer, each with a residual.

    One layer norm serves query, key and value.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    attention_dropout, relu_dropout, residual_dropout : float
        On the attention weights, inside the feed-forward layer, and before each residual.
    """

    def __init__(
        self, width: int, heads: int, *, attention_dropout: float, relu_dropout: float, residual_dropout: float
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}; set heads to a divisor of the width")
        self.heads = heads
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.norm, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.relu_dropout, self.residual_dropout = nn.Dropout(relu_dropout), nn.Dropout(residual_dropout)
        for linear in (self.project, self.out, self.expand, self.contract):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, source: tuple[Tensor, Tensor] | None, allowed: Tensor | None) -> Tensor:
        """Let ``x`` [B, T, width] attend to keys and values [B, S, width] (None: its own) where ``allowed`` [T, S]."""
        normed = self.norm(x)
        keys, values = (normed, normed) if source is None else map(self.norm, source)
        parts = zip((normed, keys, values), self.project.weight.chunk(3), self.project.bias.chunk(3), strict=True)
        query, key, value = (F.linear(part, weight, bias) for part, weight, bias in parts)
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        dropout = self.attention_dropout.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout)
        x = x + self.residual_dropout(self.out(attended.transpose(1, 2).flatten(2)))
        hidden = self.relu_dropout(F.relu(self.expand(self.norm_feed_forward(x))))
        return x + self.residual_dropout(self.contract(hidden))


class CrossmodalEncoder(nn.Module):
    """Layers that let a sequence attend to another, or to itself, and a last layer norm.

    The source is embedded once, and every layer attends to it as it is.

    Parameters
    ----------
    width, heads, layers : int
    attention_dropout, relu_dropout, residual_dropout, embedding_dropout : float
    causal : bool
        Position i attends to positions j <= i + abs(T - S) only.
    positions : bool
        Add sinusoidal positions.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        *,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        causal: bool = True,
        positions: bool = False,
    ) -> None:
        super().__init__()
        self.causal, self.positions = causal, positions
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.layers = nn.ModuleList(
            CrossmodalLayer(
                width,
                heads,
                attention_dropout=attention_dropout,
                relu_dropout=relu_dropout,
                residual_dropout=residual_dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def embed(self, x: Tensor) -> Tensor:
        """Scale a sequence [B, T, width] and add its positions."""
        scaled = math.sqrt(x.shape[-1]) * x
        if self.positions:
            scaled = scaled + sinusoids(scaled)
        return self.embedding_dropout(scaled)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Let ``x`` [B, T, width] attend to ``source`` [B, S, width], or to itself."""
        length, others = x.shape[1], (x if source is None else source).shape[1]
        allowed = None
        if self.causal:
            allowed = torch.ones(length, others, dtype=torch.bool, device=x.device).tril(abs(length - others))
        x = self.embed(x)
        # Keys and values are the same sequence, embedded twice: dropout is drawn for each.
        embedded = None if source is None else (self.embed(source), self.embed(source))
        for layer in self.layers:
            x = layer(x, embedded, allowed)
        return self.norm(x)


class Convolution(nn.Conv1d):
    """Convolution over time, without bias or padding; shorter sequences end in zeros up to the kernel's length."""

    def __init__(self, inputs: int, width: int, kernel_size: int) -> None:
        super().__init__(inputs, width, kernel_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn a sequence [B, T, inputs] into [B, max(T - kernel_size, 0) + 1, width]."""
        (kernel_size,) = self.kernel_size
        padded = F.pad(x.transpose(1, 2), (0, max(kernel_size - x.shape[1], 0)))
        return super().forward(padded).transpose(1, 2)


def sinusoids(x: Tensor) -> Tensor:
    """Return sinusoidal positions for a sequence [B, T, width].

    Position t (from 1) gives sines, then cosines, of t / 10000^(k / (width // 2 - 1)); an odd last channel is 0. A
    position whose first channel is exactly 0 counts as padding and gets zeros.
    """
    half = x.shape[-1] // 2
    frequency = torch.exp(torch.arange(half, device=x.device) * -(math.log(10000) / max(half - 1, 1)))
    angle = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None] * frequency
    table = F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, x.shape[-1] % 2))
    return torch.where(x[..., :1] != 0, table, 0.0)
