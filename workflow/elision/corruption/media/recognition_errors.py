"""Errors as a recogniser of speech makes them, at a chosen word error rate."""

from collections.abc import Sequence

import numpy as np

from elision.corruption.media._sounds import nearest
from elision.corruption.media._words import WER, ByWord, cased_like, is_chinese

SUBSTITUTIONS, DELETIONS, INSERTIONS = 0.60, 0.25, 0.15  # shares of the errors
INSERTED = ("a", "and", "I", "in", "is", "it", "of", "oh", "the", "to", "uh", "you")
INSERTED_CHINESE = ("的", "了", "是", "我", "你", "就", "那", "啊", "嗯", "有")


class RecognitionErrors(ByWord):
    """Words are replaced by words that sound like them, deleted, and inserted.

    Each word is in error where its uniform number lies below the rate. A run of words that are in error at severity 5
    has substitutions and deletions, or substitutions and insertions: an alignment counts a deletion and an insertion
    side by side as one substitution, so that the realised rate would be below its target.
    """

    name = "recognition_errors"
    levels = (5, 10, 20, 30, 50)
    unit = "%"
    caption = "Recognition errors"
    level = "word error rate"
    about = (
        "Errors of a speech recogniser, simulated: 60 % of them replace a word by one of the five that sound most like "
        "it, 25 % delete a word and 15 % insert a short one."
    )
    measured = WER | {
        "substituted": "words that were replaced",
        "deleted": "words that were deleted",
        "inserted": "words that were inserted",
        "unknown": "of the replaced words, those whose sound no dictionary has",
    }

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Make errors in words."""
        uniform, kinds, runs, choices = random.random((len(words), 4)).T
        ever, wrong = uniform < self.levels[-1] / 100, uniform < self.level_of(severity) / 100
        counts = dict.fromkeys(("substituted", "deleted", "inserted", "unknown"), 0.0)
        changed: list[str | None] = list(words)
        deletes = False
        for i, word in enumerate(words):
            if ever[i] and not (i and ever[i - 1]):
                deletes = runs[i] < DELETIONS / (DELETIONS + INSERTIONS)
            if not wrong[i]:
                continue
            if kinds[i] < SUBSTITUTIONS:
                near = nearest(word.lower())
                changed[i] = cased_like(near.words[int(choices[i] * len(near.words))], word)
                counts["substituted"] += 1
                counts["unknown"] += not near.known
            elif deletes:
                changed[i] = None
                counts["deleted"] += 1
            else:
                chinese = is_chinese(word)
                short = INSERTED_CHINESE if chinese else INSERTED
                changed[i] = f"{word}{'' if chinese else ' '}{short[int(choices[i] * len(short))]}"
                counts["inserted"] += 1
        return changed, counts
