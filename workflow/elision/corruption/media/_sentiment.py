"""Which English words carry sentiment: the lexicon of VADER (Hutto & Gilbert, 2014)."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from elision.features.recognise import installed

MEASURED = {"sentiment_words": "words of the clean text that are in VADER's lexicon"}


@cache
def _lexicon() -> dict[str, float]:
    with installed():
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    return SentimentIntensityAnalyzer().lexicon


def valence(word: str) -> float:
    """Return how positive a word is, in [-4, 4]; 0 for a word that VADER's lexicon does not have."""
    return _lexicon().get(word.lower().replace("’", "'"), 0.0)


def carries(words: Sequence[str]) -> np.ndarray:
    """Return which words carry sentiment [shape=(N,), dtype=bool]."""
    return np.array([valence(word) != 0 for word in words], bool)
