"""What kinds that corrupt words share: a text taken apart into its words, and put together again."""

import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from elision.corruption.medium import Clip, WordsKind
from elision.errors import ElisionError
from elision.features.recognise import HAN, WORD, word_error_rate

WER = {"wer": "word error rate against the clean text, %", "words": "words of the clean text"}

_CHINESE = re.compile(f"[{HAN}]")


class ByWord(WordsKind):
    """A kind that says what becomes of each word of a text; what stands between the words stays.

    A word is a run of letters and digits, or one Chinese character (`elision.features.recognise.WORD`).
    """

    languages: ClassVar[tuple[str, ...]] = ("latin", "chinese")

    def corrupt(self, text: str, severity: int, clip: Clip) -> tuple[str, dict[str, float]]:
        """Corrupt a transcript; see `WordsKind.corrupt`.

        Raises
        ------
        ElisionError
            If the text is in a script of which the kind makes no sense.
        """
        found = list(WORD.finditer(text))
        words = [each.group() for each in found]
        script = script_of(words)
        if script and script not in self.languages:
            raise ElisionError(
                f"{self.name}: the text of clip {clip.id!r} is in {script.capitalize()} script, and this kind knows "
                f"{' and '.join(map(str.capitalize, self.languages))} only; take {self.name} out of corruption.media "
                "in params.yaml"
            )
        changed, measured = self.edit(words, severity, clip.random(self.name))
        if changed != words:
            bounds = [0, *(bound for each in found for bound in each.span()), len(text)]
            gaps = [text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
            changed_text = joined(gaps, changed)
        else:
            changed_text = text
        return changed_text, {"wer": 100 * word_error_rate(text, changed_text), "words": len(words), **measured}

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Say what becomes of each word.

        Parameters
        ----------
        words : sequence of N str
        severity : int
            From 1 to 5.
        random : np.random.Generator
            Of the kind and the clip. What is drawn from it must not depend on the severity.

        Returns
        -------
        words : list of (str or None)
            For each word what is written in its place, or None where it is deleted. A list shorter than N: the text
            ends there.
        measured : dict of str to float
            A value for each name of ``measured`` but those of `WER`.
        """
        raise NotImplementedError


def script_of(words: Sequence[str]) -> str:
    """Return the script of most words, such as ``latin``, ``chinese`` or ``cyrillic``; empty without any letter."""
    scripts = [each for each in map(_script, words) if each]
    return max(sorted(set(scripts)), key=scripts.count) if scripts else ""


def _script(word: str) -> str:
    letter = next((each for each in word if each.isalpha()), "")
    if is_chinese(word) or not letter:
        return "chinese" if is_chinese(word) else ""
    return unicodedata.name(letter, "unknown").split()[0].lower()


def is_chinese(word: str) -> bool:
    """Return whether a word is a Chinese character."""
    return bool(_CHINESE.match(word))


def joined(gaps: Sequence[str], words: Sequence[str | None]) -> str:
    """Put a text together again.

    Parameters
    ----------
    gaps : sequence of N + 1 str
        What stands before, between and after the words of the text.
    words : sequence of up to N (str or None)
        None is a word that is deleted: of the two gaps around it one remains, so that no punctuation is doubled; emoji
        and other symbols remain from both. With fewer than N words, the text ends after the last.

    Examples
    --------
    >>> joined(["", ", ", " ", "."], [None, "liked", None])
    'liked.'
    """
    done = [gaps[0]]
    for word, gap in zip(words, gaps[1:], strict=False):
        if word is not None:
            done += [word, gap]
        elif len(done) == 1:  # a text does not begin with a comma
            done = [_symbols(done[0] + gap)]
        else:
            kept, dropped = (done[-1], gap) if done[-1].strip() else (gap, done[-1])
            done[-1] = done[-1] + gap if _symbols(dropped) else kept
    if len(words) < len(gaps) - 1:
        done.pop()
    return "".join(done).strip() if None in words else "".join(done)


def _symbols(gap: str) -> str:
    return "".join(each for each in gap if not each.isspace() and unicodedata.category(each)[0] != "P")


def cased_like(word: str, model: str) -> str:
    """Write a word in the case of another: in capitals, with a capital, or as it is."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() and model != "I" else word
