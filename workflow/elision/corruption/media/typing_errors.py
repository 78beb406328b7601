"""Errors as people make them when they type."""

import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from elision.corruption.media._sounds import nearest
from elision.corruption.media._words import WER, ByWord, is_chinese

# The rows of a QWERTY keyboard, and how far each is shifted to the right, in widths of a key.
_ROWS = {"1234567890": -0.5, "qwertyuiop": 0.0, "asdfghjkl": 0.25, "zxcvbnm": 0.75}
_PLACES = {
    key: (column + shift, row) for row, (keys, shift) in enumerate(_ROWS.items()) for column, key in enumerate(keys)
}
NEIGHBOURS = {
    key: "".join(
        other
        for other, there in _PLACES.items()
        if other != key and other.isdigit() == key.isdigit() and math.dist(here, there) < 1.3
    )
    for key, here in _PLACES.items()
}


class TypingErrors(ByWord):
    """Letters are mistyped where their uniform number lies below the rate, in one of four ways, each as probable.

    The key beside it is struck (QWERTY), the letter and the next change places, the letter is left out, or it is typed
    twice. A letter that has no key, and one that cannot change places with a next one, is typed twice. Of Chinese text,
    which is typed by its sound, a character is replaced by one of the five that sound most like it in two of four
    errors, left out or typed twice.
    """

    name = "typing_errors"
    levels = (1, 2, 5, 10, 20)
    unit = "%"
    caption = "Typing errors"
    level = "share of letters mistyped"
    about = (
        "Letters and digits are replaced by the key beside them, swapped, left out or doubled, each with the "
        "probability of the rate. Chinese characters are replaced by others of the same sound, left out or doubled."
    )
    measured = WER | {
        "letters": "letters, digits and Chinese characters of the clean text",
        "mistyped": "of them, those that were mistyped",
    }

    def edit(
        self, words: Sequence[str], severity: int, random: np.random.Generator
    ) -> tuple[list[str | None], dict[str, float]]:
        """Mistype letters."""
        typed = [list(word) for word in words]
        places = [(i, j) for i, word in enumerate(words) for j, letter in enumerate(word) if letter.isalnum()]
        uniform, kinds, choices = random.random((len(places), 3)).T
        wrong = np.flatnonzero(uniform < self.level_of(severity) / 100).tolist()
        swapped = []
        for number in wrong:
            i, j = places[number]
            letter, kind = words[i][j], int(kinds[number] * 4)
            chinese, plain = is_chinese(letter), unicodedata.normalize("NFD", letter.lower())[0]
            near = nearest(letter).words if chinese else NEIGHBOURS.get(plain, "")
            following = words[i][j + 1 : j + 2]
            if near and (kind == 0 or (kind == 1 and chinese)):
                typed[i][j] = near[int(choices[number] * len(near))]
                if letter.isupper():
                    typed[i][j] = typed[i][j].upper()
            elif kind == 1 and following.isalnum() and following.lower() != letter.lower():
                swapped.append((i, j))
            elif kind == 2:
                typed[i][j] = ""
            else:
                typed[i][j] = 2 * letter
        for i, j in swapped:  # with what became of the two, so that each error of a lower severity is still there
            typed[i][j], typed[i][j + 1] = typed[i][j + 1], typed[i][j]
        counts = {"letters": float(len(places)), "mistyped": float(len(wrong))}
        return ["".join(letters) or None for letters in typed], counts
