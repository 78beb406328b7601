"""A BERT in sixty lines, so that a check of a method need not import transformers, which takes seconds.

`TinyBert` has the modules, the names of weights and the numbers of ``transformers.BertModel``; a test compares the two.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embeddings(nn.Module):
    def __init__(self, *, vocabulary: int, width: int, longest: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(longest, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        types = torch.zeros_like(positions)
        embedded = self.word_embeddings(ids) + self.token_type_embeddings(types) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(embedded))


class SelfAttention(nn.Module):
    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.dropout = heads, nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            layer(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        rate = self.dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, mask, rate).transpose(1, 2).flatten(2)


class Output(nn.Module):
    def __init__(self, *, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inner, width), nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class Layer(nn.Module):
    def __init__(self, *, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": SelfAttention(width=width, heads=heads, dropout=dropout),
                "output": Output(inner=width, width=width, dropout=dropout),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Output(inner=inner, width=width, dropout=dropout)

    def forward(self, hidden: Tensor, attended: Tensor | None = None) -> Tensor:
        hidden = self.attention["output"](self.attention["self"](hidden, attended), hidden)
        return self.output(F.gelu(self.intermediate["dense"](hidden)), hidden)


class Pooler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.dense(hidden[:, 0]))


class TinyBert(nn.Module):
    """Random weights that depend on PyTorch's global generator, as those of ``transformers.BertModel`` do."""

    def __init__(
        self,
        *,
        vocabulary: int,
        width: int = 16,
        layers: int = 2,
        heads: int = 2,
        inner: int = 16,
        longest: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=width)
        self.embeddings = Embeddings(vocabulary=vocabulary, width=width, longest=longest, dropout=dropout)
        sizes = {"width": width, "heads": heads, "inner": inner, "dropout": dropout}
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(**sizes) for _ in range(layers))})
        self.pooler = Pooler(width)
        self.apply(_initialise)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        hidden = self.embeddings(input_ids)
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, attention_mask)
        return SimpleNamespace(last_hidden_state=hidden)


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx] = 0
