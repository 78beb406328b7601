"""White noise: as strong at every frequency."""

import numpy as np

from elision.corruption.media._additive import Additive
from elision.corruption.medium import Clip


class WhiteNoise(Additive):
    """Gaussian noise, independent from sample to sample."""

    name = "white_noise"
    caption = "White noise"
    about = "Gaussian noise with the same power at every frequency is added to the sound."

    def noise(
        self, size: int, rate: int, clip: Clip, random: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, float]]:
        return random.standard_normal(size), {}
