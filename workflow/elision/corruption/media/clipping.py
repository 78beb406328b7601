"""Clipping: a recording that was driven too hard."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from elision.corruption.medium import Clip, SoundKind


class Clipping(SoundKind):
    """The loudest samples are cut down to the magnitude that a given share of samples exceeds.

    Samples that are exactly zero do not count, so that padding does not change what happens to the rest. What is
    clipped at one severity is clipped at every higher one. Where many samples have the same magnitude, fewer are
    clipped, as the measurement tells.
    """

    name = "clipping"
    levels = (0.01, 0.02, 0.05, 0.1, 0.2)
    caption = "Clipping"
    level = "share of clipped samples"
    about = "The loudest samples are clipped to one magnitude, as by an overdriven recorder."
    measured: ClassVar[Mapping[str, str]] = {"clipped": "share of the samples other than zero that were clipped"}

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        magnitudes = np.sort(np.abs(y[y != 0]))[::-1]
        if not len(magnitudes):
            return y.copy(), {"clipped": 0.0}
        limit = magnitudes[round(self.level_of(severity) * len(magnitudes))]
        clipped = np.clip(y, -limit, limit)
        return clipped, {"clipped": float(np.count_nonzero(clipped != y) / len(magnitudes))}
