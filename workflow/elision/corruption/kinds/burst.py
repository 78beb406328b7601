"""Spans of tokens and frames missing in one piece, as where a microphone fails or a face is hidden."""

import numpy as np
from pydantic import Field

from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples
from elision.corruption.missing import generators, level_rates
from elision.settings.fields import Length, Rates, Section


class Setting(Section):
    """Spans of tokens and frames missing in one piece."""

    rates: Rates = Field([], description="missing rates to test; all modalities have the same rate")
    length: Length = Field(10, description="mean length of a span, in tokens or frames")


class Burst(Kind):
    """Each sequence is cut into spans of random lengths, and each span is missing with the probability of the rate.

    Lengths are geometric. The cuts belong to a sample, not to the rate: what is missing at one rate is missing at every
    higher rate, too. Neighbours that are both missing make longer gaps: on average they are L / (1 - r) long.
    """

    name = "burst"
    rank = 50
    setting = (Setting, Setting(), "spans of consecutive tokens and frames are missing")
    training = "each sample loses spans of all modalities, at a rate of 0, 0.1, ... or 0.9"
    corruptions = {"burst": "spans missing"}
    caption = "Spans missing"
    condition = "missing rate"
    about = "Spans of consecutive tokens and frames are missing. All modalities have the same rate."
    summaries = ("mean", "area")

    def conditions(self, setting: Setting, present: tuple[str, ...]) -> list[Condition]:
        return [Condition("burst", rate, present if rate else ()) for rate in setting.rates]

    def numbers(self, samples: Samples, draw: Draw, setting: Setting) -> dict[str, np.ndarray]:
        """Give one number to all positions of a span."""
        drawn = {}
        for name, lengths in samples.lengths.items():
            parts = [
                _spans(random, int(length), setting.length)
                for random, length in zip(
                    generators(draw.seed, draw.stream, "burst", name, names=samples.ids), lengths, strict=True
                )
            ]
            drawn[name] = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return samples.with_ends(drawn)

    def trained_with(self, setting: Setting) -> int:
        return setting.length

    def train(self, samples: Samples, draw: Draw, setting: Setting, options: object) -> Drawn:
        rates = level_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids)
        return Drawn(rates, self.numbers(samples, draw, setting))


def _spans(random: np.random.Generator, length: int, mean: int) -> np.ndarray:
    """Return the numbers of the positions of a sample [shape=(length,), dtype=float32].

    A new span begins at each position with probability 1 / mean, so that the first one is no special case.
    """
    begins = random.random(length) < 1 / mean
    begins[:1] = True
    numbers = random.random(int(begins.sum()), dtype=np.float32)
    return numbers[np.cumsum(begins) - 1]
