"""Frozen text vectors of a source of token ids: hidden states of its text encoder, stored once (``features.text``)."""

from elision.features import text
from elision.progress import track
from elision.store import Header, Sequences


def add(modalities: dict[str, Sequences]) -> None:
    """Add ``text_features`` to the sequences of a source, unless it has them, or no token ids.

    Parameters
    ----------
    modalities : dict of str to Sequences
        By modality; changed in place.
    """
    tokens = modalities.get("text")
    if tokens is None or "text_features" in modalities:
        return
    name = tokens.header.extractor
    states = [text.hidden_states(ids, encoder=name) for ids in track(tokens, "encode the text", len(tokens))]
    header = Header(modality="text_features", length=tokens.header.length, extractor=name)
    modalities["text_features"] = Sequences.of(states, header)
