"""Frozen text vectors of a source of token ids: hidden states of its text encoder, stored once (``features.text``)."""

from elision.features import text
from elision.progress import track
from elision.store import Header, Sequences


def text_vectors(tokens: Sequences) -> Sequences:
    """Return the last hidden states of the text encoder whose token ids a source gives.

    Parameters
    ----------
    tokens : Sequences

    Returns
    -------
    text_features : Sequences
        A vector for every token.
    """
    name = tokens.header.extractor
    states = [text.hidden_states(ids, encoder=name) for ids in track(tokens, "encode the text", len(tokens))]
    return Sequences.of(states, Header(modality="text_features", length=tokens.header.length, extractor=name))
