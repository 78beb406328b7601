"""Modalities absent as a whole, and tokens and frames of the others missing at random (HRLF sections 3.2 and 4.4)."""

from typing import Any

import numpy as np

from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples, of_modalities, vector
from elision.corruption.missing import RATES, mixed_rates, subsets
from elision.settings.fields import SharedRates


class Combined(Kind):
    """Some modalities are missing as a whole, and the others at a rate."""

    name = "combined"
    rank = 30
    setting = (SharedRates, [], "missing rates of the other modalities, if some modalities are absent (HRLF)")
    training = "each sample loses whole modalities, and frames of the others at one of the rates of training"
    corruptions = {"combined": "modalities absent and others missing at random"}
    caption = "Modalities absent, and tokens and frames of the others missing at random"
    section = "Absent modalities and random missing"
    plot = "Modalities absent, others missing at random (mean over the sets)"
    always = True
    sets, others = "absent", "present in part"
    condition = "incomplete case"
    training_rates = RATES
    about = "Some modalities are absent. Tokens and frames of the other modalities are missing at the rate."

    def conditions(self, setting: list[float], present: tuple[str, ...]) -> list[Condition]:
        sets = [subset for subset in subsets(present) if subset]
        return [Condition("combined", rate, subset) for rate in setting for subset in sets]

    def rates(self, condition: Condition) -> np.ndarray:
        return of_modalities(condition.modalities, 1.0, others=condition.level)

    def describe(self, condition: Condition) -> str:
        return f"{', '.join(condition.modalities)}, and {100 * condition.level:g} % of the others"

    def train(self, samples: Samples, draw: Draw, setting: object, options: Any) -> Drawn:
        levels = [vector(rate) for rate in options.rates or self.training_rates]
        rates = mixed_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids, present=samples.present, levels=levels)
        return Drawn(rates, draw.uniforms(samples))
