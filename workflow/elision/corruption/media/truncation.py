"""The end of the text is cut off."""

from collections.abc import Sequence

import numpy as np

from elision.corruption.media._words import WER, ByWord


class Truncation(ByWord):
    """A share of the words at the end is cut, rounded to whole words, with all that stands after the last word kept."""

    name = "truncation"
    levels = (10, 25, 50, 75, 90)
    unit = "%"
    caption = "Truncation"
    level = "share of words cut"
    about = "The last words, or Chinese characters, are cut off, as if recording or recognition had ended early."
    measured = WER | {"deleted": "words that were cut"}

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Cut words off."""
        cut = int(self.level_of(severity) * len(words) / 100 + 0.5)
        return list(words[: len(words) - cut]), {"deleted": float(cut)}
