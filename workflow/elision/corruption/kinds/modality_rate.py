"""The missing rate of modalities, MR, of GCNet (Lian et al., arXiv 2203.02177, section 4.3) and its successors."""

from typing import Any

import numpy as np

from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples, at_rates, of_modalities, vector, whole
from elision.corruption.missing import generators, rates_of
from elision.settings.fields import SharedRates
from elision.task import MODALITIES

_KEPT = np.float32(2)  # a number below no rate


class ModalityRate(Kind):
    """Modalities are missing as a whole, one by one, and no sample loses all: MR is the share of missing modalities.

    Of its M modalities each sample keeps the one with the largest uniform number for sure, and each other one with
    probability (M (1 - MR) - 1) / (M - 1). From MR = 1 - 1 / M on it keeps just one.
    """

    name = "modality_rate"
    rank = 15
    setting = (SharedRates, [], "shares of modalities (MR) to test: each sample keeps at least one modality (GCNet)")
    training = "each sample loses whole modalities at one of the rates of training (MR), but never all"
    corruptions = {"modality_rate": "modalities missing at a rate"}
    caption = "Modalities missing at a rate"
    level = "missing rate of modalities MR"
    condition = "missing rate"
    about = "Each sample loses whole modalities, but never all. MR is the share of modalities that are missing."
    reading = (
        "Missing rate of modalities MR",
        "Each sample keeps one modality, which is drawn. The other modalities are lost at the probability that makes "
        "the share of lost modalities MR. From MR = 2/3 on, a sample with three modalities keeps just one. What is "
        "lost at one rate is lost at every higher rate.",
    )
    summaries = ("mean", "area")
    training_rates = tuple(number / 10 for number in range(8))

    def conditions(self, setting: list[float], present: tuple[str, ...]) -> list[Condition]:
        return at_rates(self.name, setting, present)

    def rates(self, condition: Condition) -> np.ndarray:
        """Return the share of samples that lose each modality, as far as all samples have all."""
        return of_modalities(condition.modalities, min(condition.level, 1 - 1 / max(len(condition.modalities), 1)))

    def describe(self, condition: Condition) -> str:
        return f"{100 * condition.level:g} % of the modalities" if condition.modalities else "nothing"

    def numbers(self, samples: Samples, draw: Draw, setting: object) -> dict[str, np.ndarray]:
        """Give each position of a modality the rate above which its sample lacks the modality."""
        has = np.stack([samples.lengths[name] > 0 for name in samples.lengths], 1)
        drawn = np.stack([self._uniforms(samples, draw, name) for name in samples.lengths], 1)
        count = has.sum(1, keepdims=True)
        kept = np.where(has, drawn[..., 0], -1).argmax(1)
        numbers = np.where(np.arange(has.shape[1]) == kept[:, None], _KEPT, drawn[..., 1] * (count - 1) / count.clip(1))
        return {
            name: np.repeat(numbers[:, column].astype(np.float32), samples.lengths[name])
            for column, name in enumerate(samples.lengths)
        }

    @staticmethod
    def _uniforms(samples: Samples, draw: Draw, modality: str) -> np.ndarray:
        """Draw two numbers for each sample: which modality it keeps, and when it loses this one [shape=(N, 2)]."""
        randoms = generators(draw.seed, draw.stream, "modality_rate", modality, names=samples.ids)
        return np.array([random.random(2, dtype=np.float32) for random in randoms]).reshape(-1, 2)

    def test(
        self, condition: Condition, samples: Samples, draw: Draw, numbers: dict[str, np.ndarray], setting: object
    ) -> Drawn:
        return self._absent(vector(condition.level), samples, numbers)

    def at(self, rates: np.ndarray, samples: Samples, draw: Draw, setting: object) -> Drawn:
        return self._absent(rates, samples, self.numbers(samples, draw, setting))

    @staticmethod
    def _absent(rates: np.ndarray, samples: Samples, numbers: dict[str, np.ndarray]) -> Drawn:
        """Take away each modality of a sample whose number lies below the rate."""
        absent = np.zeros((len(samples), len(MODALITIES)), np.float32)
        at = np.broadcast_to(rates, absent.shape)
        for name in samples.present:
            column, some = MODALITIES.index(name), samples.lengths[name] > 0
            absent[some, column] = numbers[name][samples.bounds(name)[:-1][some]] < at[some, column]
        return whole(samples, absent)

    def train(self, samples: Samples, draw: Draw, setting: object, options: Any) -> Drawn:
        chosen = np.stack([vector(rate) for rate in options.rates or self.training_rates])
        rates = rates_of(chosen, seed=draw.seed, stream=draw.stream, ids=samples.ids)
        return self.at(rates, samples, draw, setting)
