"""Pre-norm transformer blocks of LNLN and ALMT, after their released code.

No block masks anything: padded frames are ordinary tokens. There is no dropout.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.methods.layers.stack import shares, stack

_ALL = slice(None)
_AT_ONCE = 2**20  # numbers of queries that a processor computes at once, with as many keys and values: 12 MiB


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int) -> Tensor:
    """Scaled dot-product attention over heads that lie side by side in the last dimension.

    Parameters
    ----------
    query : Tensor [B, Tq, heads * e]
    key, value : Tensor [B, Tk, heads * e]

    Returns
    -------
    Tensor [B, Tq, heads * e]
    """
    attended = F.scaled_dot_product_attention(_heads(query, heads), _heads(key, heads), _heads(value, heads))
    return attended.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """Attention and feed-forward layer, each with a residual.

    Query, key and value have a layer norm each, also where they are the same sequence.

    Parameters
    ----------
    width : int
        Of the sequences and of the feed-forward layer (no expansion).
    heads, head_width : int
        The inner width of the attention is ``heads * head_width``, whatever ``width`` is.
    """

    def __init__(self, width: int, *, heads: int = 8, head_width: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.ready: Weights | None = None  # see `gathered`
        inner = heads * head_width
        self.norm_query, self.norm_key, self.norm_value = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor, source: Tensor | None = None, *, read: slice = _ALL) -> Tensor:
        """Let ``x`` [B, T, width] attend to ``source`` [B, S, width], or to itself.

        Only the positions ``read`` of ``x`` are computed and returned; the source is attended as a whole.
        """
        return apply([self], x[None], None if source is None else source[None], read=read).squeeze(0)


Weights = tuple[Tensor, ...]


def gather(groups: list[list[Block]]) -> list[Weights]:
    """Return the weights of equal blocks, stacked per group: projection, output and the two feed-forward layers.

    Each is a weight [G, in, out] and a bias [G, 1, out]. The weights of a layer norm go into the layer after it.
    """
    blocks, sizes = [block for group in groups for block in group], [len(group) for group in groups]

    projections = [layer for block in blocks for layer in (block.query, block.key, block.value)]
    norms = [norm for block in blocks for norm in (block.norm_query, block.norm_key, block.norm_value)]
    # Query, key and value lie side by side: from [3 G, ., inner] to [G, ., 3 inner].
    project = [t.unflatten(0, (-1, 3)).transpose(1, 2).flatten(2) for t in _linear(projections, norms)]
    first_norms, firsts, _, seconds = zip(*(block.feed_forward for block in blocks), strict=True)
    pairs = (project, _linear([block.out for block in blocks]), _linear(firsts, first_norms), _linear(seconds))
    return list(zip(*(tensor.split(sizes) for pair in pairs for tensor in pair), strict=True))


@contextmanager
def gathered(groups: list[list[Block]]) -> Iterator[None]:
    """Gather the weights of all groups at once, for what `apply` computes inside, if equal blocks share operations."""
    sharing = groups if shares(groups[0][0].out.weight) else []
    for group, weights in zip(sharing, gather(sharing) if sharing else [], strict=True):
        group[0].ready = weights
    try:
        yield
    finally:
        for group in sharing:
            group[0].ready = None


def apply(blocks: list[Block], x: Tensor, source: Tensor | None = None, *, read: slice = _ALL) -> Tensor:
    """Let sequences [G, B, T, width] pass a block each; see `Block`."""
    if shares(x):
        return _apply(blocks, x, source, read)
    if len(blocks) == 1:
        return _few_at_a_time(blocks[0], x.squeeze(0), None if source is None else source.squeeze(0), read)[None]
    sources = [None] * len(blocks) if source is None else source.unbind()
    return stack([_few_at_a_time(*one, read) for one in zip(blocks, x.unbind(), sources, strict=True)])


def _few_at_a_time(block: Block, x: Tensor, source: Tensor | None, read: slice) -> Tensor:
    """Let ``x`` [B, T, width] pass a block on a processor, in parts of so few samples that they stay in its cache."""
    others, (inner, width) = x if source is None else source, block.query.weight.shape
    count, many = len(range(*read.indices(x.shape[1]))), others.shape[1]
    unprojected = _unprojected(count, many, block)
    few = max(1, _AT_ONCE // ((width if unprojected else inner) * max(count, many)))
    if len(x) <= few:
        return _alone(block, x, others, read, unprojected)
    parts = zip(x.split(few), others.split(few), strict=True)
    return torch.cat([_alone(block, *part, read, unprojected) for part in parts])


def _alone(block: Block, x: Tensor, source: Tensor, read: slice, unprojected: bool) -> Tensor:
    """Compute a block with its weights as they are: for a processor, a copy takes longer than further operations."""
    x = x[:, read]
    query, key, value = block.query(block.norm_query(x)), block.norm_key(source), block.norm_value(source)
    if unprojected:
        weights = [layer.weight.unflatten(0, (block.heads, -1)) for layer in (block.key, block.value)]
        given = key.unsqueeze(1), value.unsqueeze(1)
        answer = _attend_unprojected(query, *given, *weights, heads=block.heads).transpose(1, 2).flatten(2)
    else:
        answer = attend(query, block.key(key), block.value(value), heads=block.heads)
    x = x + block.out(answer)
    return x + block.feed_forward(x)


def _unprojected(few: int, many: int, block: Block) -> bool:
    """Say whether few queries ask so many positions that `_attend_unprojected` multiplies less."""
    inner, width = block.query.weight.shape
    head = inner // block.heads
    return many > few + head and few * width * (many + head) < many * head * (few + width)


def _apply(blocks: list[Block], x: Tensor, source: Tensor | None, read: slice) -> Tensor:
    """Compute several blocks at once, with stacked weights: for a GPU, an operation takes longer than a copy."""
    project, project_bias, *rest = blocks[0].ready or gather([blocks])[0]
    out, out_bias, expand, expand_bias, contract, contract_bias = rest
    (groups, batch, _, width), heads, inner = x.shape, blocks[0].heads, out.shape[1]
    few, many = len(range(*read.indices(x.shape[2]))), (x if source is None else source).shape[2]
    unprojected = groups == 1 and _unprojected(few, many, blocks[0])
    y = x.flatten(1, 2)
    normed = F.layer_norm(y, (width,))
    if read != _ALL:
        y = x[:, :, read].flatten(1, 2)
    if source is None and not unprojected:
        query, key, value = _parts(torch.baddbmm(project_bias, normed, project), batch, heads, 3)
        answer = F.scaled_dot_product_attention(query if read == _ALL else query[:, :, read], key, value)
    else:
        source = normed.view(x.shape) if source is None else F.layer_norm(source, (width,))
        weights, biases = project.split([inner, 2 * inner], 2), project_bias.split([inner, 2 * inner], 2)
        # What asks is normed anew where it is a part: the gradient of a part of a long sequence is as long.
        query = torch.baddbmm(biases[0], normed if read == _ALL else F.layer_norm(y, (width,)), weights[0])
        if unprojected:
            key, value = weights[1].view(width, 2, heads, -1).permute(1, 2, 3, 0).unbind()
            bias = biases[1].view(2, heads, 1, -1)[1]
            source = source.transpose(0, 1)
            answer = _attend_unprojected(query, source, source, key, value, bias, heads=heads)
        else:
            given = _parts(torch.baddbmm(biases[1], source.flatten(1, 2), weights[1]), batch, heads, 2)
            answer = F.scaled_dot_product_attention(*_parts(query, batch, heads, 1), *given)
    y = y + torch.baddbmm(out_bias, answer.transpose(1, 2).reshape(groups, -1, inner), out)
    hidden = F.gelu(torch.baddbmm(expand_bias, F.layer_norm(y, (width,)), expand))
    return (y + torch.baddbmm(contract_bias, hidden, contract)).view(groups, batch, -1, width)


def _linear(layers: Sequence[nn.Linear], norms: Sequence[nn.LayerNorm] | None = None) -> tuple[Tensor, Tensor]:
    """Return weights [n, in, out] and biases [n, 1, out] of linear layers, those of the layer norms before included.

    Of layers without a norm before them, all must have a bias.
    """
    weight = stack([layer.weight for layer in layers]).mT
    bias = None if layers[0].bias is None else stack([layer.bias for layer in layers])[:, None]
    if norms is None:
        return weight, bias
    scale, shift = stack([norm.weight for norm in norms])[:, :, None], stack([norm.bias for norm in norms])[:, None]
    shifted = torch.bmm(shift, weight) if bias is None else torch.baddbmm(bias, shift, weight)
    return weight * scale, shifted


def _parts(x: Tensor, batch: int, heads: int, parts: int) -> tuple[Tensor, ...]:
    """Part [G, B * T, parts * heads * e] into [G * B, heads, T, e] each."""
    split = x.view(len(x) * batch, -1, parts, heads, x.shape[2] // (parts * heads)).unbind(2)
    return tuple(part.transpose(1, 2) for part in split)


def _attend_unprojected(
    query: Tensor, keys: Tensor, values: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, *, heads: int
) -> Tensor:
    """Attend with few queries to a long source, without a projection of the source.

    A head's scores are q (K s) = (K' q) s, and its answer is V (a s): queries and answers are projected instead. A
    bias of the keys would add the same to all scores of a query, and so nothing.

    Parameters
    ----------
    query : Tensor [..., heads * e]
        Of B * T positions.
    keys, values : Tensor [B, 1, S, width]
        The source, as it is projected to keys and to values.
    key, value : Tensor [heads, e, width]
        The projections of each head.
    bias : Tensor [heads, 1, e], optional
        Of the values.

    Returns
    -------
    Tensor [B, heads, T, e]
    """
    (batch, *_, width), head = keys.shape, query.shape[2] // heads
    # One matrix product per head: [heads, B * T, e] by [heads, e, width].
    asked = torch.bmm(query.view(-1, heads, head).transpose(0, 1), key)
    asked = asked.view(heads, batch, -1, width).permute(1, 2, 0, 3).reshape(batch, 1, -1, width)
    found = F.scaled_dot_product_attention(asked, keys, values, scale=head**-0.5)
    found = found.reshape(-1, heads, width).transpose(0, 1)
    answer = torch.bmm(found, value.mT) if bias is None else torch.baddbmm(bias, found, value.mT)
    return answer.view(heads, batch, -1, head).transpose(0, 1)


def encode_together(transformers: list["TokenTransformer"], xs: list[Tensor]) -> Tensor:
    """Return what each transformer makes of its sequence [B, T, width], stacked [n, B, T, width].

    All transformers have one shape, and none has learned tokens.
    """
    x = stack([transformer.embed(x) for transformer, x in zip(transformers, xs, strict=True)])
    for blocks in zip(*(transformer.blocks for transformer in transformers), strict=True):
        x = apply(list(blocks), x)
    return x


class TokenTransformer(nn.Module):
    """Transformer over a sequence, with learned positions, and with learned tokens in front that collect it.

    Parameters
    ----------
    length : int
        Longest sequence; shorter ones use the first positions.
    width, depth : int
    tokens : int
        Learned tokens, prepended; 0 for none.
    """

    def __init__(self, length: int, width: int, depth: int, *, tokens: int = 0, heads: int = 8) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(1, tokens, width)) if tokens else None
        self.positions = nn.Parameter(torch.randn(1, length + tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads=heads) for _ in range(depth))

    def embed(self, x: Tensor) -> Tensor:
        """Return the sequence [B, tokens + T, width] before the first block."""
        if self.tokens is not None:
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        whole = x.shape[1] == self.positions.shape[1]
        return x + (self.positions if whole else self.positions[:, : x.shape[1]])

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return the sequence [B, tokens + T, width] before the first block and after every block."""
        outputs = [self.embed(x)]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the learned tokens [B, tokens, width] after the last block; the whole sequence if there are none.

        The last block computes nothing but what is returned.
        """
        x = self.embed(x)[None]
        *blocks, last = self.blocks
        for block in blocks:
            x = apply([block], x)
        return apply([last], x, read=_ALL if self.tokens is None else slice(self.tokens.shape[1])).squeeze(0)


class CrossTransformer(nn.Module):
    """A target sequence that attends to a source in every layer; the source stays as it is.

    One learned token is prepended to both.

    Parameters
    ----------
    source_length, target_length, width, depth : int
    """

    def __init__(self, source_length: int, target_length: int, width: int, depth: int, *, heads: int = 8) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.source_positions = nn.Parameter(torch.randn(1, source_length + 1, width))
        self.target_positions = nn.Parameter(torch.randn(1, target_length + 1, width))
        self.blocks = nn.ModuleList(Block(width, heads=heads) for _ in range(depth))

    def forward(self, source: Tensor, target: Tensor, *, read: slice = _ALL) -> Tensor:
        """Return the positions ``read`` of the target [B, 1 + T, width], the learned token first.

        The last block computes nothing but what is returned.
        """
        token = self.token.expand(len(target), -1, -1)
        source = (torch.cat([token, source], 1) + self.source_positions)[None]
        target = (torch.cat([token, target], 1) + self.target_positions)[None]
        *blocks, last = self.blocks
        for block in blocks:
            target = apply([block], target, source)
        return apply([last], target, source, read=read).squeeze(0)


class HyperModalityLayer(nn.Module):
    """Adaptive hyper-modality learning: language asks audio and vision, and the answers are added up (LNLN, eq. 3).

    The residual carries the normalised hyper-modality, as in the released code; the paper draws it unnormalised.

    Parameters
    ----------
    width, heads : int
        ``width`` must be a multiple of ``heads``.
    """

    def __init__(self, width: int, *, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm_language, self.norm_audio, self.norm_vision, self.norm_hyper = (nn.LayerNorm(width) for _ in range(4))
        self.query, self.audio_key, self.audio_value, self.vision_key, self.vision_value = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.out = nn.Linear(width, width)

    def forward(self, language: Tensor, audio: Tensor, vision: Tensor, hyper: Tensor) -> Tensor:
        """Return the updated hyper-modality [B, T, width]; all arguments have that shape."""
        return refine([self], [language], audio, vision, hyper)


def refine(
    layers: Sequence[HyperModalityLayer], scales: Sequence[Tensor], audio: Tensor, vision: Tensor, hyper: Tensor
) -> Tensor:
    """Pass a hyper-modality [B, T, width] through layers, each with its scale of language [B, T, width].

    No answer depends on the hyper-modality, so that all layers ask audio and vision at once.
    """
    depth, heads, (batch, length, width) = len(layers), layers[0].heads, hyper.shape
    asking = F.layer_norm(stack(list(scales)), (width,)).flatten(1, 2)
    weight, bias = _linear([layer.query for layer in layers], [layer.norm_language for layer in layers])
    query = torch.baddbmm(bias, asking, weight).view(depth, 1, batch, length, heads, -1).transpose(3, 4)
    sources = F.layer_norm(stack([audio, vision]), (width,)).flatten(1, 2)
    projections = [p for layer in layers for p in (layer.audio_key, layer.audio_value)]
    projections += [p for layer in layers for p in (layer.vision_key, layer.vision_value)]
    norms = [layer.norm_audio for layer in layers for _ in range(2)]
    norms += [layer.norm_vision for layer in layers for _ in range(2)]
    # From [4 depth, ., width] to [2, ., 2 depth * width]: audio, then vision.
    weight, bias = (t.unflatten(0, (2, -1)).transpose(1, 2).flatten(2) for t in _linear(projections, norms))
    found = torch.baddbmm(bias, sources, weight).view(2, batch, -1, depth, 2, heads, width // heads)
    # Keys and values: [depth * 2 * B, heads, S, e] each.
    key, value = found.permute(4, 3, 0, 1, 5, 2, 6).flatten(1, 3).unbind()
    query = query.expand(-1, 2, -1, -1, -1, -1).flatten(0, 2)
    answer = F.scaled_dot_product_attention(query, key, value).unflatten(0, (depth, 2, batch)).sum(1)
    weight, bias = _linear([layer.out for layer in layers])
    answers = torch.baddbmm(bias, answer.transpose(2, 3).reshape(depth, -1, width), weight)
    for layer, refinement in zip(layers, answers.view(depth, batch, length, width).unbind(), strict=True):
        hyper = layer.norm_hyper(hyper) + refinement
    return hyper
