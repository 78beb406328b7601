"""Words that carry sentiment are turned into their opposites."""

from collections.abc import Sequence

import numpy as np

from elision.corruption.media._antonyms import ANTONYMS
from elision.corruption.media._sentiment import MEASURED, carries
from elision.corruption.media._words import WER, ByWord, cased_like


class Antonyms(ByWord):
    """Words of VADER's lexicon become their antonyms of WordNet, or are negated where WordNet has none.

    WordNet has antonyms of base forms: "love" becomes "hate", but "enjoyed" becomes "not enjoyed". Where a "not" stands
    before such a word, the "not" is deleted: "not enjoyed" becomes "enjoyed".
    """

    name = "antonyms"
    languages = ("latin",)
    levels = (20, 40, 60, 80, 100)
    unit = "%"
    caption = "Antonyms"
    level = "share of sentiment words turned round"
    about = (
        "Words of VADER's lexicon of sentiment become their opposites of WordNet 3.0, each with the probability of the "
        'rate; a word without an opposite is negated ("not funny"). For English text.'
    )
    measured = WER | MEASURED | {
        "replaced": "sentiment words that were replaced by an antonym",
        "negated": "sentiment words that were negated, or lost their negation",
    }  # fmt: skip

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Turn sentiment words round."""
        sentiment = carries(words)
        turned = sentiment & (random.random(len(words)) < self.level_of(severity) / 100)
        counts = {"sentiment_words": float(sentiment.sum()), "replaced": 0.0, "negated": 0.0}
        changed: list[str | None] = list(words)
        for i in np.flatnonzero(turned).tolist():
            word = words[i]
            if antonym := ANTONYMS.get(word.lower()):
                changed[i] = cased_like(antonym, word)
                counts["replaced"] += 1
            elif i and words[i - 1].lower() == "not":
                changed[i - 1] = None
                counts["negated"] += 1
            else:
                changed[i] = f"{cased_like('not', word)} {word if word.isupper() else word.lower()}"
                counts["negated"] += 1
        return changed, counts
