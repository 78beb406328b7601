"""Pink noise: as strong in every octave, as much of what surrounds a speaker."""

import numpy as np

from elision.corruption.media._additive import Additive
from elision.corruption.media._speech import power_of_two
from elision.corruption.medium import Clip

_LOWEST = 20  # Hz; below, nothing is heard


class PinkNoise(Additive):
    """Gaussian noise whose power falls as 1 / f from 20 Hz on: white noise, shaped in the frequency domain.

    Source: J. Timmer and M. König, "On generating power law noise", Astronomy and Astrophysics 300, 1995.
    """

    name = "pink_noise"
    caption = "Pink noise"
    about = "Gaussian noise with the same power in every octave from 20 Hz on is added to the sound."

    def noise(
        self, size: int, rate: int, clip: Clip, random: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, float]]:
        length = power_of_two(max(size, rate))  # of a second at least: the lowest waves fit in
        frequency = np.fft.rfftfreq(length, 1 / rate)
        shape = np.where(frequency < _LOWEST, 0, 1 / np.sqrt(np.maximum(frequency, _LOWEST)))
        noise = np.fft.irfft(np.fft.rfft(random.standard_normal(length)) * shape, length)
        return noise[:size] / noise.std(), {}
