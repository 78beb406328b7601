"""Resampling that keeps times."""

from math import gcd

import numpy as np


def resampled(y: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Resample a sound from one rate in Hz to another, by a filter without delay.

    Returns
    -------
    y : np.ndarray [shape=(ceil(n * to / rate),), dtype=float64]
    """
    from scipy import signal

    common = gcd(rate, to)
    return signal.resample_poly(y.astype(np.float64), to // common, rate // common)
