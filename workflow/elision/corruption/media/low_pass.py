"""Low-pass: what a narrow channel or a covered microphone leaves of the sound."""

from collections.abc import Mapping
from math import nan
from typing import ClassVar

import numpy as np

from elision.corruption.media._speech import power_of_two
from elision.corruption.medium import Clip, SoundKind

_TRANSITION = 0.1  # width of the band between passed and stopped, as a share of the cut-off
_ATTENUATION = 60  # dB


class LowPass(SoundKind):
    """A filter without delay takes all above a frequency away: at the frequency itself, half of the amplitude.

    It passes what lies 5 % below the cut-off, and stops what lies 5 % above it by 60 dB (a linear-phase filter with
    Kaiser's window, whose delay is taken off). Where the sampling rate leaves nothing to stop, the sound stays as it is
    and the attenuation is nan.
    """

    name = "low_pass"
    levels = (6000, 4000, 3000, 2000, 1000)
    unit = "Hz"
    caption = "Low-pass"
    level = "cut-off frequency"
    about = "All above a frequency is filtered out of the sound."
    measured: ClassVar[Mapping[str, str]] = {"attenuation": "by how much what lies above the cut-off got weaker, in dB"}

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        cutoff = self.level_of(severity)
        stopped = cutoff * (1 + _TRANSITION / 2)
        if stopped >= rate / 2:
            return y.copy(), {"attenuation": nan}
        from scipy import signal

        taps, beta = signal.kaiserord(_ATTENUATION, _TRANSITION * cutoff / (rate / 2))
        taps |= 1  # an odd number: the delay is a whole number of samples
        window = signal.firwin(taps, cutoff, window=("kaiser", beta), fs=rate)
        passed = signal.oaconvolve(y.astype(np.float64), window)[taps // 2 :][: len(y)].astype(np.float32)
        before, after = (_energy_above(sound, rate, stopped) for sound in (y, passed))
        return passed, {"attenuation": float(10 * np.log10(before / after)) if before and after else nan}


def _energy_above(y: np.ndarray, rate: int, frequency: float) -> float:
    """Return the energy above a frequency in Hz; the ends are faded, or their edges would count as high tones."""
    length = power_of_two(len(y))
    spectrum = np.fft.rfft(y * np.hanning(len(y) + 2)[1:-1], length)
    return float(np.sum(np.abs(spectrum[np.fft.rfftfreq(length, 1 / rate) > frequency]) ** 2))
