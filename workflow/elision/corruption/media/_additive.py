"""Noise that is added to the sound: the base class of such kinds, with their levels and how they are measured."""

from collections.abc import Mapping
from math import nan
from typing import ClassVar

import numpy as np

from elision.corruption.media._speech import power, speech_samples
from elision.corruption.medium import Clip, SoundKind
from elision.errors import ElisionError

_FAINTEST = 1e-3  # power of noise during speech, of 1 where it is loud: 30 dB
_DRAWS = 100


class Additive(SoundKind):
    """Noise at a signal-to-noise ratio: the power of speech over that of noise, both over the samples of speech alone.

    Neither pauses nor silence around the speech change the noise (``_speech.speech_samples`` tells what is speech). The
    noise of a clip is the same at every severity, but for its scale. Sums beyond full scale are not clipped. A clip
    without speech stays as it is, and what is measured is nan.
    """

    levels = (20, 10, 5, 0, -5)
    unit = "dB"
    level = "signal-to-noise ratio"
    measured: ClassVar[Mapping[str, str]] = {"snr": "signal-to-noise ratio over speech, in dB"}

    def noise(
        self, size: int, rate: int, clip: Clip, random: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Return noise [shape=(size,)] whose power is 1 where it is loud, and what else is measured."""
        raise NotImplementedError

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        speech = speech_samples(y, rate)
        if not speech.any():
            return y.copy(), dict.fromkeys(self.measured, nan)
        noise, measured = self._during(speech, rate, clip)
        signal = y - y.mean(dtype=np.float64)
        ratio = power(signal, speech) / power(noise, speech)
        noisy = (y + noise * np.sqrt(ratio / 10 ** (self.level_of(severity) / 10))).astype(np.float32)
        snr = 10 * np.log10(power(signal, speech) / power(noisy.astype(np.float64) - y, speech))
        return noisy, {"snr": float(snr), **measured}

    def _during(self, speech: np.ndarray, rate: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        """Draw noise until it is heard during speech: a pause between two barks, scaled up, would be no noise."""
        random = clip.random(self.name)
        for _ in range(_DRAWS):
            noise, measured = self.noise(len(speech), rate, clip, random)
            if power(noise, speech) >= _FAINTEST:
                return noise, measured
        raise ElisionError(
            f"corruption {self.name}: clip {clip.id}: none of {_DRAWS} draws of noise is heard while the clip speaks; "
            f"choose noise with fewer pauses, or take {self.name} out of corruption.media"
        )
