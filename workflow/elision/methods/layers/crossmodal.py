"""Crossmodal transformer of MulT, DMD, TETFN and TFR-Net, after MMSA's code (fairseq style, pre-norm).

No padding is masked: padded frames are attended like any other.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.methods.layers.stack import stack
from elision.task import MODALITIES


def check_heads(heads: int, width: int) -> int:
    """Return the number of attention heads.

    Raises
    ------
    ValueError
        If they do not divide the width.
    """
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}; set heads to a divisor of the width")
    return heads


class CrossmodalLayer(nn.Module):
    """Weights of an attention to keys and values and of a feed-forward layer, each with a residual.

    One layer norm serves query, key and value. `encode` computes the layer.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(heads, width)
        self.norm, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for linear in (self.project, self.out, self.expand, self.contract):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)


class CrossmodalEncoder(nn.Module):
    """Layers that let a sequence attend to another, or to itself, and a last layer norm.

    The source is embedded once, and every layer attends to it as it is.

    Parameters
    ----------
    width, heads, layers : int
    attention_dropout, relu_dropout, residual_dropout, embedding_dropout : float
        On the attention weights, inside the feed-forward layer, before each residual, and on both sequences.
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
        self.width, self.heads, self.causal, self.positions = width, heads, causal, positions
        self.attention_dropout, self.relu_dropout = nn.Dropout(attention_dropout), nn.Dropout(relu_dropout)
        self.residual_dropout, self.embedding_dropout = nn.Dropout(residual_dropout), nn.Dropout(embedding_dropout)
        self.layers = nn.ModuleList(CrossmodalLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    @property
    def alike(self) -> tuple:
        """What two encoders must share to be computed at once."""
        dropouts = self.relu_dropout, self.residual_dropout, self.embedding_dropout
        return self.width, self.heads, len(self.layers), self.causal, *map(_rate, dropouts)

    def embed(self, x: Tensor) -> Tensor:
        """Scale a sequence [B, T, width] and add its positions."""
        scaled = math.sqrt(x.shape[-1]) * x
        return scaled + sinusoids(scaled) if self.positions else scaled

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Let ``x`` [B, T, width] attend to ``source`` [B, S, width], or to itself."""
        return encode([Job(self, x, source)])[0]


class Job(NamedTuple):
    """An encoder, the sequence [B, T, width] that it encodes, and the one [B, S, width] that it attends to, if any."""

    encoder: CrossmodalEncoder
    x: Tensor
    source: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, float]:
        """Lengths of both sequences, and the dropout on the attention weights."""
        others = self.x if self.source is None else self.source
        return self.x.shape[1], others.shape[1], _rate(self.encoder.attention_dropout)


def encode(jobs: Sequence[Job], *, last: bool = False) -> list[Tensor]:
    """Encode several sequences, each with an encoder of its own, as if one after the other.

    Encoders that are alike share their operations: stacked weights multiply stacked sequences of the same length. A
    layer norm's own weights go into the projection after it, so that all layers share one norm of the source.

    Parameters
    ----------
    jobs : sequence of Job
        All with the same number of samples.
    last : bool
        Compute nothing but what the last position of each sequence reads.

    Returns
    -------
    list of Tensor [B, T, width], or [B, 1, width]
        In the order of the jobs.
    """
    alike: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        alike.setdefault((job.encoder.alike, job.source is None), []).append(number)
    encoded: dict[int, Tensor] = {}
    for numbers in alike.values():
        numbers.sort(key=lambda number: jobs[number].shape)
        encoded.update(zip(numbers, _encode_alike([jobs[number] for number in numbers], last), strict=True))
    return [encoded[number] for number in range(len(jobs))]


def pairwise(build: Callable[[str], CrossmodalEncoder]) -> nn.ModuleDict:
    """Build an encoder with which each modality attends to each other one, given the name of the other one."""
    pairs = [(target, source) for target in MODALITIES for source in MODALITIES if source != target]
    return nn.ModuleDict({f"{target}_from_{source}": build(source) for target, source in pairs})


def summarised(
    crossmodal: nn.ModuleDict,
    memory: nn.ModuleDict,
    sequences: Mapping[str, Tensor],
    appended: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Let each modality attend to both others, and what comes of them, side by side, to itself.

    Parameters
    ----------
    crossmodal : nn.ModuleDict
        Of `pairwise`.
    memory : nn.ModuleDict
        Encoders of twice the width, by modality.
    sequences : mapping of str to Tensor [B, T, width]
    appended : mapping of str to Tensor [B, n, 2 width], optional
        Steps that follow what came of the others, by modality.

    Returns
    -------
    dict of str to Tensor [B, 2 width]
        The last steps, in the order of ``memory``.
    """
    pairs = [name.split("_from_") for name in crossmodal]
    jobs = zip(crossmodal.values(), pairs, strict=True)
    found = encode([Job(encoder, sequences[x], sequences[source]) for encoder, (x, source) in jobs])
    both = {name: torch.cat([y for y, (x, _) in zip(found, pairs, strict=True) if x == name], 2) for name in memory}
    if appended is not None:
        both = {name: torch.cat([x, appended[name]], 1) for name, x in both.items()}
    last = encode([Job(encoder, both[name]) for name, encoder in memory.items()], last=True)
    return {name: x.squeeze(1) for name, x in zip(memory, last, strict=True)}


def _encode_alike(jobs: list[Job], last: bool) -> list[Tensor]:
    """Encode with encoders that are alike, E of them; jobs of the same shape follow each other."""
    first, batch = jobs[0].encoder, len(jobs[0].x)
    depth, width, heads = len(first.layers), first.width, first.heads
    crossed = jobs[0].source is not None
    embedded: dict[tuple[int, bool], Tensor] = {}

    def embed(encoder: CrossmodalEncoder, x: Tensor) -> Tensor:
        """Embed a sequence once, however many encoders read it."""
        key = id(x), encoder.positions
        if key not in embedded:
            embedded[key] = encoder.embed(x)
        return embedded[key]

    def stacked(module: str, kind: str) -> Tensor:
        """Return a parameter of the first layer of all encoders, then of the second, and so on [depth * E, ...]."""
        layers = [job.encoder.layers[number] for number in range(depth) for job in jobs]
        return stack([getattr(layer.get_submodule(module), kind) for layer in layers])

    def linear(module: str, norm: str = "") -> tuple[Tensor, Tensor]:
        """Return weight [depth * E, in, out] and bias [depth * E, 1, out], those of the norm before it included."""
        weight, bias = stacked(module, "weight").mT, stacked(module, "bias")[:, None]
        if not norm:
            return weight, bias
        scale, shift = stacked(norm, "weight")[:, :, None], stacked(norm, "bias")[:, None]
        return weight * scale, torch.baddbmm(bias, shift, weight)

    def keys_and_values(weight: Tensor, bias: Tensor) -> Iterator[list[tuple[Tensor, ...]]]:
        """Return the keys and the values of every layer, [E * B, heads, S, e] each, per shape of jobs."""
        # From [depth * E, ., 2 * width] to keys and values [2, E, ., depth * width].
        parts = [t.unflatten(0, (depth, -1)).unflatten(3, (2, width)).permute(3, 1, 2, 0, 4) for t in (weight, bias)]
        counts = _runs(job.shape for job in jobs)
        parts = [t.flatten(3).split(counts, 1) for t in parts]
        ahead = iter(jobs)
        for count, weights, biases in zip(counts, *parts, strict=True):
            together = stack([embed(job.encoder, job.source) for job in islice(ahead, count)]).flatten(1, 2)
            # Keys and values are the same sequence, embedded twice: dropout is drawn for each.
            drawn = [F.layer_norm(first.embedding_dropout(together), (width,))]
            drawn += (
                [F.layer_norm(first.embedding_dropout(together), (width,))] if _rate(first.embedding_dropout) else drawn
            )
            yield [
                _heads(torch.baddbmm(bias, x, weight), batch, heads, depth)
                for x, weight, bias in zip(drawn, weights.unbind(), biases.unbind(), strict=True)
            ]

    tensors = [*linear("project", "norm"), *linear("out"), *linear("expand", "norm_feed_forward"), *linear("contract")]
    sources: Iterator = iter(())
    if crossed:
        (query, *weight), (query_bias, *bias) = (t.split([width, 2 * width], 2) for t in tensors[:2])
        tensors[:2] = query, query_bias
        sources = keys_and_values(*weight, *bias)
    counts = _runs(job.shape[:1] if crossed else job.shape for job in jobs)
    weights = list(zip(*(tensor.split(counts * depth) for tensor in tensors), strict=True))

    ahead, outputs = iter(jobs), []
    for group, count in enumerate(counts):
        together = list(islice(ahead, count))
        shapes = list(dict.fromkeys(job.shape for job in together))
        sizes = [batch * size for size in _runs(job.shape for job in together)]
        found = list(islice(sources, len(shapes)))
        x = first.embedding_dropout(stack([embed(job.encoder, job.x) for job in together]).flatten(1, 2))
        seen = [_seen(*shape[:2], x) if first.causal else {} for shape in shapes]
        for layer in range(depth):
            project, project_bias, out, out_bias, expand, expand_bias, contract, contract_bias = weights[
                layer * len(counts) + group
            ]
            projected = torch.baddbmm(project_bias, F.layer_norm(x, (width,)), project)
            query, *own = _heads(projected, batch, heads, 1 if crossed else 3)
            given = [[part[layer] for part in parts] for parts in found] if crossed else [own]
            if last and layer == depth - 1:
                query, x = query[:, :, -1:], x.unflatten(1, (batch, -1))[:, :, -1]
                seen = [{}] * len(shapes)  # it sees all
            attended = [
                F.scaled_dot_product_attention(part, key, value, dropout_p=dropout, **mask).transpose(1, 2)
                for part, (key, value), (_, _, dropout), mask in zip(
                    query.split(sizes) if len(sizes) > 1 else [query], given, shapes, seen, strict=True
                )
            ]
            answer = (torch.cat(attended) if len(attended) > 1 else attended[0]).reshape(x.shape)
            x = x + first.residual_dropout(torch.baddbmm(out_bias, answer, out))
            hidden = F.relu(torch.baddbmm(expand_bias, F.layer_norm(x, (width,)), expand))
            x = x + first.residual_dropout(torch.baddbmm(contract_bias, first.relu_dropout(hidden), contract))
        outputs += [job.encoder.norm(y) for job, y in zip(together, x.unflatten(1, (batch, -1)).unbind(), strict=True)]
    return outputs


def _rate(dropout: nn.Dropout) -> float:
    """Return the rate at which a dropout acts now."""
    return dropout.p if dropout.training else 0.0


def _runs(items: Iterable) -> list[int]:
    """Return how many equal items follow each other, again and again."""
    return [len(list(run)) for _, run in groupby(items)]


def _heads(x: Tensor, batch: int, heads: int, parts: int) -> tuple[Tensor, ...]:
    """Part sequences [E, B * T, parts * heads * e] into [E * B, heads, T, e] each."""
    return x.view(len(x) * batch, -1, parts, heads, x.shape[2] // (parts * heads)).permute(2, 0, 3, 1, 4).unbind()


def _seen(length: int, others: int, like: Tensor) -> dict:
    """Return what of another sequence a position sees, as arguments of the attention."""
    if length == others:
        return {"is_causal": True}
    ahead = abs(length - others)
    if others <= ahead + 1:
        return {}
    return {"attn_mask": like.new_full((length, others), -math.inf).triu(ahead + 1)}


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


def interleaved_sinusoids(number: Tensor, width: int) -> Tensor:
    """Return sinusoidal positions [T, width] of what has a ``number`` [T].

    Number t has sin(t f_k) at channel 2k and cos(t f_k) at channel 2k + 1, with f_k = 10000^(-2k / width).
    """
    frequency = torch.exp(torch.arange(0, width, 2, device=number.device) * (-math.log(10000.0) / width))
    angle = number[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :width]
