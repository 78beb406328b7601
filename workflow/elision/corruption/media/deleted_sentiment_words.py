"""The words that carry sentiment are deleted."""

from collections.abc import Sequence

import numpy as np

from elision.corruption.media._sentiment import MEASURED, carries
from elision.corruption.media._words import WER, ByWord


class DeletedSentimentWords(ByWord):
    """Each word of VADER's lexicon is deleted where its uniform number lies below the rate."""

    name = "deleted_sentiment_words"
    languages = ("latin",)
    levels = (20, 40, 60, 80, 100)
    unit = "%"
    caption = "Deleted sentiment words"
    level = "share of sentiment words deleted"
    about = (
        "Words of VADER's lexicon of sentiment are deleted, each with the probability of the rate. For English text."
    )
    measured = WER | MEASURED | {"deleted": "sentiment words that were deleted"}

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Delete sentiment words."""
        sentiment = carries(words)
        gone = sentiment & (random.random(len(words)) < self.level_of(severity) / 100)
        changed = [None if lost else word for word, lost in zip(words, gone, strict=True)]
        return changed, {"sentiment_words": float(sentiment.sum()), "deleted": float(gone.sum())}
