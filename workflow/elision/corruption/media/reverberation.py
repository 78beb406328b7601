"""Reverberation: the sound of a room in which the speaker stands away from the microphone."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from elision.corruption.media._speech import power, speech_samples
from elision.corruption.medium import Clip, SoundKind

_VOLUME = 60  # cubic metres: a living room
_DISTANCE = 1  # metres from the speaker to the microphone
_DECAY = 3 * np.log(10)  # 60 dB, as the exponent of an amplitude


class Reverberation(SoundKind):
    """The sound is convolved with the direct path, and a tail of Gaussian noise that decays by 60 dB within RT60.

    The model of the room is J.-D. Polack's ("La transmission de l'énergie sonore dans les salles", 1988; K. Lebart,
    J.-M. Boucher and P. N. Denbigh, "A new method based on spectral subtraction for speech dereverberation", Acta
    Acustica 87, 2001). Sabine's critical distance of a room of 60 cubic metres, 0.057 sqrt(volume / RT60) metres (H.
    Kuttruff, "Room Acoustics"), gives the energy of the tail for a speaker at 1 m, so that longer reverberation is
    stronger as well. Each clip has a room of its own; at higher severities the same noise decays more slowly. The
    direct path keeps its time, what sounds on after the end is cut, and the level of speech stays what it was.
    """

    name = "reverberation"
    levels = (0.3, 0.5, 0.7, 0.9, 1.2)
    unit = "s"
    caption = "Reverberation"
    level = "reverberation time RT60"
    about = "The sound is reverberated by a synthetic room: decaying noise after the direct path (Polack 1988)."
    measured: ClassVar[Mapping[str, str]] = {
        "rt60": "reverberation time of the impulse response, in s (T30 of ISO 3382)",
        "drr": "energy of the direct path over that of the tail, in dB",
    }

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        from scipy import signal

        rt60 = self.level_of(severity)
        noise = clip.random(self.name).standard_normal(round(self.levels[-1] * rate))
        seconds = np.arange(1, round(rt60 * rate)) / rate
        # Its sum of squares is RT60 times the square of the distance over 0.057^2 times the volume.
        scale = np.sqrt(2 * _DECAY / rate / (0.057**2 * _VOLUME)) * _DISTANCE
        tail = scale * noise[: len(seconds)] * np.exp(-_DECAY * seconds / rt60)
        response = np.concatenate([[1], tail])
        wet = signal.oaconvolve(y.astype(np.float64), response)[: len(y)]
        speech = speech_samples(y, rate)
        if speech.any():
            wet *= np.sqrt(power(y, speech) / power(wet, speech))
        drr = -10 * np.log10(np.sum(tail**2))
        return wet.astype(np.float32), {"rt60": decay_time(response, rate), "drr": float(drr)}


def decay_time(response: np.ndarray, rate: int) -> float:
    """Measure the reverberation time of an impulse response.

    The energy that is still to come is integrated backwards (M. R. Schroeder, "New method of measuring reverberation
    time", 1965). A line is fitted to its fall from -5 to -35 dB (T30 of ISO 3382-2).

    Parameters
    ----------
    response : np.ndarray [shape=(n,)]
    rate : int
        Hz.

    Returns
    -------
    seconds : float
        In which the energy falls by 60 dB.

    Examples
    --------
    >>> round(decay_time(10 ** (-3 * np.arange(8000) / 8000 / 0.5), 8000), 2)
    0.5
    """
    energy = np.cumsum(np.square(response)[::-1])[::-1]
    decibels = 10 * np.log10(energy / energy[0])
    fitted = np.flatnonzero((decibels <= -5) & (decibels >= -35))
    return float(-60 / np.polyfit(fitted / rate, decibels[fitted], 1)[0])
