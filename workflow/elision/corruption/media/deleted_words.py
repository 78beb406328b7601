"""Words are deleted at random."""

from collections.abc import Sequence

import numpy as np

from elision.corruption.media._words import WER, ByWord


class DeletedWords(ByWord):
    """Each word is deleted where its uniform number lies below the rate; of Chinese text each character."""

    name = "deleted_words"
    levels = (10, 20, 40, 60, 80)
    unit = "%"
    caption = "Deleted words"
    level = "share of words deleted"
    about = "Each word, or Chinese character, is deleted with the probability of the rate."
    measured = WER | {"deleted": "words that were deleted"}

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Delete words."""
        gone = random.random(len(words)) < self.level_of(severity) / 100
        return [None if lost else word for word, lost in zip(words, gone, strict=True)], {"deleted": float(gone.sum())}
