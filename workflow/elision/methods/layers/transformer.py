"""Pre-norm transformer blocks of LNLN and ALMT, after their released code.

No block masks anything: padded frames are ordinary tokens. There is no dropout.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ALL = slice(None)


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
        source = x if source is None else source
        x = x[:, read]
        query, key, value = self.query(self.norm_query(x)), self.norm_key(source), self.norm_value(source)
        inner, width = self.query.weight.shape
        few, many, head = x.shape[1], source.shape[1], inner // self.heads
        if many > few + head and few * width * (many + head) < many * head * (few + width):
            attended = self._attend_unprojected(query, key, value)
        else:
            attended = attend(query, self.key(key), self.value(value), heads=self.heads)
        x = x + self.out(attended)
        return x + self.feed_forward(x)

    def _attend_unprojected(self, query: Tensor, source_key: Tensor, source_value: Tensor) -> Tensor:
        """Return what `attend` does, for few queries of a long source, without a projection of the source.

        A head's scores are q (K s) = (K' q) s, and its answer is V (a s): queries and answers are projected instead.

        Parameters
        ----------
        query : Tensor [B, T, heads * e]
        source_key, source_value : Tensor [B, S, width]
            Not yet projected.

        Returns
        -------
        Tensor [B, T, heads * e]
        """
        batch, count, _ = query.shape
        key, value = (layer.weight.unflatten(0, (self.heads, -1)) for layer in (self.key, self.value))
        # One matrix product per head: [heads, B * T, e] by [heads, e, width].
        asked = query.flatten(0, 1).unflatten(1, (self.heads, -1)).transpose(0, 1) @ key
        asked = asked.unflatten(1, (batch, count)).permute(1, 2, 0, 3).flatten(1, 2)
        scale = key.shape[1] ** -0.5
        found = F.scaled_dot_product_attention(asked[:, None], source_key[:, None], source_value[:, None], scale=scale)
        found = found.reshape(batch * count, self.heads, -1).transpose(0, 1) @ value.mT
        return found.transpose(0, 1).reshape(batch, count, -1)


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
        return x + self.positions[:, : x.shape[1]]

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
        x = self.embed(x)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        return last(x, read=_ALL if self.tokens is None else slice(self.tokens.shape[1]))


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
        source = torch.cat([token, source], 1) + self.source_positions
        target = torch.cat([token, target], 1) + self.target_positions
        *blocks, last = self.blocks
        for block in blocks:
            target = block(target, source)
        return last(target, source, read=read)


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
        audio, vision = self.norm_audio(audio), self.norm_vision(vision)
        query = self.query(self.norm_language(language))
        answer = attend(query, self.audio_key(audio), self.audio_value(audio), heads=self.heads) + attend(
            query, self.vision_key(vision), self.vision_value(vision), heads=self.heads
        )
        return self.norm_hyper(hyper) + self.out(answer)
