"""Muted segments: a microphone that is off at times."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from elision.corruption.medium import Clip, SoundKind

_WINDOW = 2  # seconds


class Muted(SoundKind):
    """One segment in each 2 s or so of the clip is silent; all segments together are a given share of the clip.

    The clip is divided into equal windows as near to 2 s as possible. In each, a segment grows with the severity around
    a place that is drawn: what is muted at one severity is muted at every higher one.
    """

    name = "muted"
    levels = (0.1, 0.2, 0.4, 0.6, 0.8)
    caption = "Muted segments"
    level = "share of the clip that is muted"
    about = "One segment in each 2 s of the sound is replaced by silence."
    measured: ClassVar[Mapping[str, str]] = {"muted": "share of the samples that are muted"}

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        windows = max(1, round(len(y) / rate / _WINDOW))
        bounds = np.arange(windows + 1) * len(y) // windows
        sizes = np.diff(bounds)
        lengths = np.rint(self.level_of(severity) * sizes).astype(int)
        # The start moves back by less than the length grows: each segment holds all shorter ones.
        starts = bounds[:-1] + np.floor(clip.random(self.name).random(windows) * (sizes - lengths)).astype(int)
        heard, muted = y.copy(), 0
        for start, length in zip(starts, lengths, strict=True):
            heard[start : start + length] = 0
            muted += length
        return heard, {"muted": float(muted / len(y))}
