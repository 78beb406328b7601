"""Tokens and frames missing at random, at the same rate in all modalities (LNLN section 3.2)."""

import numpy as np

from elision.corruption.kind import Draw, Pattern, Samples
from elision.settings.fields import AS_PROTOCOL, Rates


class Random(Pattern):
    """Each token and frame is missing with the probability of the rate."""

    name = "random"
    rank = 10
    setting = (Rates | None, None, f"missing rates to test; {AS_PROTOCOL}")
    training = "each sample loses tokens and frames, at one of the rates of training"
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
    about = "Each token and frame is missing with the probability of the rate. All modalities have the same rate."
    reading = (
        "Missing rate r",
        "Each token and frame of the test split is lost independently with probability r. All modalities have the same "
        "rate. A lost token becomes [UNK], but [CLS] and [SEP] stay. A lost frame, or a lost vector of text, becomes "
        "zeros. All methods and runs lose the same positions. Positions that are lost at one rate are lost at every "
        "higher rate.",
    )

    def sequence(self, random: np.random.Generator, length: int, setting: object) -> np.ndarray:
        return random.random(length, dtype=np.float32)

    def numbers(self, samples: Samples, draw: Draw, setting: object) -> None:
        """Take the numbers that most kinds share."""
