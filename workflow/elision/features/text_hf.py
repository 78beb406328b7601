"""Vectors of text tokens by a text model of the Hugging Face hub: RoBERTa, DeBERTa, Qwen and others.

The tokens of a dataset stay those of ``features.text.encoder``: they are what corruption takes away, and what methods
with an encoder of their own read. A model has other tokens. A token of the dataset gets the mean of the vectors of the
model's tokens that share a character with it.
"""

from collections.abc import Iterable

import numpy as np

from elision.errors import ElisionError
from elision.features import hf
from elision.features.hf import Loaded
from elision.features.text import tokenizer
from elision.progress import track
from elision.settings.params import TextFeatures
from elision.store import Header

_NO_LIMIT = 10**6  # tokens: what tokenizers say that know no limit is larger


def header(settings: TextFeatures, *, length: int, device: str = "cpu") -> Header:
    """Return the header of vectors of tokens.

    Raises
    ------
    ElisionError
        If the model is missing.
    """
    return Header(
        modality="text_features",
        length=length,
        features=hf.names(hf.loaded(settings, device=device).width),
        extractor=settings.extractor,
        version=hf.version(settings),
        settings=hf.said_of(settings),
    )


def vectors(
    words: Iterable[str | None], ids: Iterable[np.ndarray], *, encoder: str, made_as: Header, device: str = "cpu"
) -> list[np.ndarray]:
    """Return a vector for each token of utterances.

    Parameters
    ----------
    words : iterable of str or None
        Transcripts. What the tokens do not cover, because the transcript is cut, the model does not see.
    ids : iterable of np.ndarray [shape=(T,), dtype=int32]
        Tokens of the dataset; an utterance without any gets no vector.
    encoder : str
        The encoder that these tokens are of.
    made_as : Header
        Of the vectors, as of `header`.
    device : str

    Returns
    -------
    vectors : list of np.ndarray [shape=(T, width), dtype=float32]
        [CLS] gets the vector of the model's own first token and [SEP] that of its last, if these are no part of the
        text; otherwise both get the mean of the text's tokens.

    Raises
    ------
    ElisionError
        If the model is missing, or has changed since the header was written, or an utterance has other tokens than the
        encoder gives for its transcript.
    """
    settings = TextFeatures.model_validate(
        {key: value for key, value in made_as.settings.items() if key in TextFeatures.model_fields}
    )
    found = hf.loaded(settings, device=device)
    if (here := hf.version(settings)) != made_as.version:
        raise ElisionError(
            f"features.text.model: the vectors were made by {settings.model} with {made_as.version}; here is {here}. "
            "Restore the model, or make the vectors again"
        )
    known: dict[tuple[str, int], np.ndarray] = {}
    made = []
    pairs = list(zip(words, ids, strict=True))
    for text, tokens in track(pairs, "encode the text") if len(pairs) > 1 else pairs:
        if not len(tokens):
            made.append(np.zeros((0, found.width), np.float32))
            continue
        key = (text or "", len(tokens))
        if key not in known:
            known[key] = _of_one(found, key[0], tokens, encoder)
        made.append(known[key])
    return made


def _of_one(found: Loaded, text: str, tokens: np.ndarray, encoder: str) -> np.ndarray:
    given = tokenizer(encoder)(text, truncation=True, max_length=len(tokens), return_offsets_mapping=True)
    if not np.array_equal(given["input_ids"], tokens):
        raise ElisionError(
            f"the tokens of {text[:60]!r} are not those that {encoder} gives for this transcript; extractor: hf needs "
            "the transcripts. Leave out extractor: hf, or extract the text again"
        )
    spans = np.reshape(given["offset_mapping"], (-1, 2))
    of_model, states, first, last = _states(found, text[: spans[:, 1].max(initial=0)])
    result = np.empty((len(tokens), found.width), np.float32)
    whole = states.mean(0) if len(states) else np.mean([first, last], axis=0)
    for number, (begin, end) in enumerate(spans):
        if begin == end:
            own = first if number == 0 else last
            result[number] = whole if own is None else own
            continue
        shared = (of_model[:, 0] < end) & (of_model[:, 1] > begin)
        if not shared.any():  # a character that the model's tokenizer drops
            result[number] = whole if not len(states) else states[np.abs(of_model.mean(1) - (begin + end) / 2).argmin()]
        else:
            result[number] = states[shared].mean(0)
    return result


def _states(found: Loaded, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return where the model's tokens of a text stand, their vectors, and those of its first and last special token.

    A text that is longer than the model can read is read in pieces, which share a quarter of their tokens: each gives
    the half of these that is further from its edge.

    Returns
    -------
    spans : np.ndarray [shape=(n, 2)]
        Characters, from and up to which.
    states : np.ndarray [shape=(n, width), dtype=float32]
    first, last : np.ndarray [shape=(width,)] or None
        Vectors of tokens that are no part of the text, before and after it.
    """
    import torch

    limit = _limit(found)
    given = found.processor(
        text,
        truncation=limit is not None,
        **({"max_length": limit, "stride": limit // 4} if limit else {}),
        return_overflowing_tokens=limit is not None,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    keys = ("input_ids", "offset_mapping", "special_tokens_mask")
    pieces = zip(*(given[key] if limit else [given[key]] for key in keys), strict=True)
    ids, offsets, special = zip(*pieces, strict=True)
    spans, states, first, last = [], [], None, None
    for number, (piece, where, mask) in enumerate(zip(ids, offsets, special, strict=True)):
        tokens = torch.tensor([piece])
        made = found.states(input_ids=tokens, attention_mask=torch.ones_like(tokens))[0].cpu().numpy()
        text_at = np.flatnonzero(~np.array(mask, bool))
        if not len(text_at):
            first, last = made[0] if len(made) else None, made[-1] if len(made) else None
            continue
        shared = limit // 4 if limit else 0
        begin = shared // 2 if number else 0
        end = len(text_at) - (shared - shared // 2 if number < len(ids) - 1 else 0)
        kept = text_at[begin:end]
        spans.append(np.reshape(where, (-1, 2))[kept])
        states.append(made[kept])
        if number == 0 and text_at[0] > 0:
            first = made[0]
        if number == len(ids) - 1 and text_at[-1] < len(piece) - 1:
            last = made[-1]
    if not states:
        return np.zeros((0, 2)), np.zeros((0, found.width), np.float32), first, last
    return np.concatenate(spans), np.concatenate(states), first, last


def _limit(found: Loaded) -> int | None:
    """Return how many tokens a model reads at once; None for no limit that is known."""
    most = getattr(found.config, "max_position_embeddings", None)
    offset = getattr(getattr(found.model, "embeddings", None), "create_position_ids_from_input_ids", None)
    if most and offset is not None:  # positions of RoBERTa begin after that of its padding
        most -= found.model.embeddings.padding_idx + 1
    told = getattr(found.processor, "model_max_length", None)
    return min((int(value) for value in (most, told) if value and value < _NO_LIMIT), default=None)
