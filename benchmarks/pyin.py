"""Speed of pYIN against librosa's, side by side on the same signals.

    python benchmarks/pyin.py [RECORDING ...]

One line per signal: its length, the fastest of three runs of each, and their ratio, after a run that compiles.
"""

import sys
import time

import librosa
import numpy as np

from elision.features.media import read_audio
from elision.features.pyin import pyin

SR = 22050
SECONDS = 5


def fastest(function, y, **kwargs):
    """Return the seconds of the fastest of three runs."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        function(y, **kwargs)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def voice():
    """Harmonics of a gliding fundamental, with pauses and noise."""
    t = np.arange(SECONDS * SR) / SR
    phase = 2 * np.pi * np.cumsum(130 + 50 * np.sin(3 * t)) / SR
    y = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(8 * t) > -0.6)
    return (0.1 * y + 0.003 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


def main(paths):
    """Compare on signals made here, and on the recordings."""
    signals = {
        "voice": voice(),
        "noise": np.random.default_rng(0).normal(0, 0.1, SECONDS * SR).astype(np.float32),
        "silence": np.zeros(SECONDS * SR, np.float32),
        "sweep": librosa.chirp(fmin=40, fmax=2000, duration=SECONDS, sr=SR).astype(np.float32),
    }
    signals.update((path, read_audio(path, sample_rate=SR)) for path in paths)
    for name, y in signals.items():
        for fmax in (500, 2093):
            kwargs = {"fmin": 65, "fmax": fmax, "sr": SR, "hop_length": 512}
            equal = np.array_equal(pyin(y, **kwargs)[0], librosa.pyin(y, **kwargs)[0], equal_nan=True)
            ours, theirs = fastest(pyin, y, **kwargs), fastest(librosa.pyin, y, **kwargs)
            print(
                f"{name}, 65 to {fmax} Hz, {len(y) / SR:.1f} s: {1e3 * ours:.1f} ms, librosa {1e3 * theirs:.1f} ms, "
                f"{theirs / ours:.1f} times as fast, {'equal' if equal else 'DIFFERENT'}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
