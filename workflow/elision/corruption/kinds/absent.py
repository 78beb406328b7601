"""Whole modalities absent (LNLN appendix A.8; MMIN): every proper subset of them, and none."""

from collections.abc import Sequence
from typing import Any

from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples, each_absence, whole
from elision.corruption.missing import absent_rates, subsets
from elision.settings.fields import AS_PROTOCOL


class Absent(Kind):
    """Some modalities are missing as a whole, the others are complete."""

    name = "absent"
    rank = 20
    setting = (bool | None, None, f"true: test every set of absent modalities, and complete data; {AS_PROTOCOL}")
    training = "each sample loses one set of modalities as a whole, or none (with_complete)"
    corruptions = {"absent": "modalities absent"}
    caption = "Whole modalities absent"
    section = "Absent modalities"
    always = True
    level = ""
    sets, others = "absent", "present"
    condition = "incomplete case"
    about = "Some modalities are missing as a whole, and the others are complete."
    reading = (
        "Absent modalities",
        "The named modalities are absent for every sample, and the others are complete. The mean is over the sets of "
        "absent modalities. Complete data are not part of the mean.",
    )
    summaries = ("mean",)

    def conditions(self, setting: bool | None, present: tuple[str, ...]) -> list[Condition]:
        return [Condition("absent", float(bool(subset)), subset) for subset in (subsets(present) if setting else [])]

    def describe(self, condition: Condition) -> str:
        return ", ".join(condition.modalities) or "nothing"

    def train(self, samples: Samples, draw: Draw, setting: object, options: Any) -> Drawn:
        complete, present = options.with_complete, samples.present
        rates = absent_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids, present=present, complete=complete)
        return whole(samples, rates)

    def validate(self, samples: Samples, draw: Draw, setting: object, options: Any) -> Sequence[Drawn | None]:
        """Every sample under every set of absent modalities, as in MMIN's loader."""
        drawn = each_absence(samples, complete=options.with_complete)
        return drawn or [self.train(samples, draw, setting, options)]
