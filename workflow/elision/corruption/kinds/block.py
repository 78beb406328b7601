"""One span of each sequence missing, as where a face is hidden for a while (NIAT section 4; TFR-Net)."""

import numpy as np

from elision.corruption.kind import Pattern
from elision.settings.fields import Rates


class Block(Pattern):
    """One run of round(r n) of the n positions of a sequence is missing; every start is as likely as any other.

    As the rate rises, the run grows at one of its ends: it holds what was missing at every lower rate.
    """

    name = "block"
    rank = 45
    setting = (Rates, [], "missing rates to test: one span of each sequence is missing")
    training = "each sample loses one span of each modality, at one of the rates of training"
    corruptions = {"block": "one span missing"}
    caption = "One span missing"
    about = "One span of each sequence is missing. All modalities have the same rate."

    def sequence(self, random: np.random.Generator, length: int, setting: object) -> np.ndarray:
        size = np.arange(1, length + 1)
        # The first of size positions is uniform among length - size + 1; from one size to the next it stays, or is one
        # earlier: so the longer run holds the shorter one.
        start = np.floor(float(random.random(dtype=np.float32)) * (length - size + 1)).astype(np.int64)
        added = start.copy()
        added[1:] += np.where(start[1:] == start[:-1], size[:-1], 0)
        # round(r n) is at least k where r is at least (k - 1/2) / n; halves go to the even number, as Python's do.
        numbers = np.empty(length)
        numbers[added] = np.where(size % 2, (size - 0.5) / length, np.nextafter((size - 0.5) / length, -1))
        return numbers
