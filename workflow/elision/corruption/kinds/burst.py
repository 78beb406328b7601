"""Bursts of missing tokens and frames, as where packets of a transmission are lost (Gilbert 1960, Elliott 1963)."""

import numpy as np
from pydantic import Field

from elision.corruption.kind import Pattern
from elision.settings.fields import Length, Rated


class Setting(Rated):
    """Bursts of missing tokens and frames."""

    length: Length = Field(10, description="mean length of a burst, in tokens or frames")


class Burst(Pattern):
    """A chain of two states, present and missing, whose stationary share of missing positions is the rate.

    A burst ends at each position with probability 1 / L, so that its mean length is L; one begins with probability
    r / (L (1 - r)). Above r = 1 - 1 / L bursts are L' = 1 / (1 - r) long, as long as those of independent positions:
    shorter ones would no longer hold what is missing at lower rates.
    """

    name = "burst"
    rank = 50
    setting = (Setting, Setting(), "bursts of consecutive tokens and frames are missing")
    training = "each sample loses bursts of tokens and frames, at one of the rates of training"
    corruptions = {"burst": "bursts missing"}
    caption = "Bursts missing"
    about = "Bursts of consecutive tokens and frames are missing. All modalities have the same rate."

    def sequence(self, random: np.random.Generator, length: int, setting: Setting) -> np.ndarray:
        # The chains of all rates read the same uniform numbers u. Position t is missing at rate r where r lies above
        # its number: u at the start, and where a burst of any length ends (u >= 1 - 1/L); elsewhere the lower of the
        # number before and of the rate at which a burst begins with u.
        uniform, mean = random.random(length, dtype=np.float32).astype(np.float64), setting.length
        ends = uniform >= 1 - 1 / mean
        ends[:1] = True
        numbers = np.where(ends, uniform, uniform * mean / (1 + uniform * mean))
        # Running minima that start anew where a burst ends: each part lies below all parts before it.
        part = 2.0 * np.cumsum(ends)
        return np.minimum.accumulate(numbers - part) + part

    def trained_with(self, setting: Setting) -> int:
        return setting.length
