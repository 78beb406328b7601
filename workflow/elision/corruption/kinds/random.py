"""Tokens and frames missing at random, at the same rate in all modalities (LNLN section 3.2)."""

from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples
from elision.corruption.missing import level_rates
from elision.settings.fields import AS_PROTOCOL, Rates


class Random(Kind):
    """Each token and frame is missing with the probability of the rate."""

    name = "random"
    rank = 10
    setting = (Rates | None, None, f"missing rates to test; all modalities have the same rate; {AS_PROTOCOL}")
    training = "each sample loses tokens and frames of all modalities, at a rate of 0, 0.1, ... or 0.9"
    corruptions = {"random": "random missing"}
    caption = "Random missing"
    names = {
        "": "random_missing",
        "per_level": "per_rate",
        "area": "area",
        "selection": "selection",
        "curve": "curve",
        "curve_classes": "curve_classes",
    }
    always = True
    condition = "missing rate"
    about = "Each token and frame is missing with the probability of the rate. All modalities have the same rate."
    reading = (
        "Missing rate r",
        "Each token and frame of the test split is lost independently with probability r. All modalities have the same "
        "rate. A lost token becomes [UNK], but [CLS] and [SEP] stay. A lost frame, or a lost vector of text, becomes "
        "zeros. All methods and runs lose the same positions. Positions that are lost at one rate are lost at every "
        "higher rate.",
    )
    summaries = ("mean", "area")

    def conditions(self, setting: list[float] | None, present: tuple[str, ...]) -> list[Condition]:
        return [Condition("random", rate, present if rate else ()) for rate in setting or []]

    def train(self, samples: Samples, draw: Draw, setting: object, options: object) -> Drawn:
        rates = level_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids)
        return Drawn(rates, draw.uniforms(samples))
