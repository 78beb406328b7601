"""Fundamental frequency by probabilistic YIN, with an exact Viterbi decoder for banded transitions.

pYIN (M. Mauch and S. Dixon, "pYIN: a fundamental frequency estimator using probabilistic threshold distributions",
ICASSP 2014) runs YIN under every threshold of a prior at once, which gives each frame several weighted candidates of
its period, and decodes a path through them with a hidden Markov model over pitch bins, each voiced or unvoiced.

The numbers are those of ``librosa.pyin`` 0.11, to the last bit: rounding decides between paths that are equally
likely, so every sum here is taken in the order in which librosa takes it. What makes it faster is that pitch moves
little between frames: of the transition matrix only a narrow band differs from zero, and all states outside the band
share one logarithm, that of the smallest positive number.

The compiled code is kept beside this file, or in the user's cache folder when that is read-only; set
``NUMBA_CACHE_DIR`` where neither can be written.
"""

from functools import lru_cache

import librosa
import numba
import numpy as np
import scipy.stats

from elision.errors import ElisionError

_N_THRESHOLDS = 100
_BETA_PARAMETERS = (2, 18)
_BOLTZMANN_PARAMETER = 2
_BINS_PER_SEMITONE = 10
_MAX_TRANSITION_RATE = 35.92  # octaves per second
_SWITCH_PROBABILITY = 0.01
_NO_TROUGH_PROBABILITY = 0.01
_FRAMES_AT_ONCE = 32  # what fits into the processor's cache is fastest
_TINY = np.finfo(np.float64).tiny


def pyin(
    y: np.ndarray, *, fmin: float, fmax: float, sr: float, frame_length: int = 2048, hop_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the fundamental frequency of every frame.

    Frame ``t`` is centred on sample ``t * hop_length``; beyond its ends the signal is zero.

    Parameters
    ----------
    y : np.ndarray [shape=(n,), dtype=float32 or float64]
        Mono signal.
    fmin, fmax : float
        Hz, range of the search; ``0 < fmin < fmax <= sr / 2``, and a period of ``fmin`` fits into a frame.
    sr : float
        Hz, sampling rate.
    frame_length : int
        Samples of a frame; better at least two periods of ``fmin``.
    hop_length : int
        Samples between frames.

    Returns
    -------
    f0 : np.ndarray [shape=(1 + n // hop_length,), dtype=float64]
        Hz; nan in unvoiced frames.
    voiced_flag : np.ndarray [same shape, dtype=bool]
    voiced_probability : np.ndarray [same shape, dtype=float64]

    Raises
    ------
    ElisionError
        If the range does not fit the sampling rate, the frame, or the pitch that the model can move in one hop.
    """
    _check(fmin=fmin, fmax=fmax, sr=sr, frame_length=frame_length, hop_length=hop_length)
    librosa.util.valid_audio(y)
    frames = librosa.util.frame(np.pad(y, frame_length // 2), frame_length=frame_length, hop_length=hop_length)
    min_period, max_period = int(np.floor(sr / fmax)), min(int(np.ceil(sr / fmin)), frame_length - 1)
    n_bins = _n_bins(fmin, fmax)

    observation = np.zeros((n_bins + 1, frames.shape[1]))  # the last row collects what lies above fmax
    for start in range(0, frames.shape[1], _FRAMES_AT_ONCE):
        difference = _difference(frames[:, start : start + _FRAMES_AT_ONCE], min_period, max_period)
        frame, period, probability = _candidates(difference, min_period)
        bins = 12 * _BINS_PER_SEMITONE * np.log2(sr / period / fmin)
        # Of two candidates in one bin the later one, of the longer period, counts.
        observation[np.clip(np.round(bins), 0, n_bins).astype(int), start + frame] = probability
    observation = observation[:n_bins]
    voiced_probability = np.clip(np.sum(observation, axis=0), 0, 1)

    states = _viterbi(
        np.log(observation.T + _TINY),
        np.log((1 - voiced_probability) / n_bins + _TINY),
        *_log_transitions(n_bins, _transition_width(sr, hop_length)),
        np.log(_TINY),
        np.log(1 / (2 * n_bins) + _TINY),
    )
    frequencies = fmin * 2 ** (np.arange(n_bins) / (12 * _BINS_PER_SEMITONE))
    voiced = states < n_bins
    return np.where(voiced, frequencies[states % n_bins], np.nan), voiced, voiced_probability


def _n_bins(fmin: float, fmax: float) -> int:
    return int(np.floor(12 * _BINS_PER_SEMITONE * np.log2(fmax / fmin))) + 1


def _transition_width(sr: float, hop_length: int) -> int:
    """Return the number of pitch bins, this one included, that can follow a bin."""
    return round(_MAX_TRANSITION_RATE * 12 * hop_length / sr) * _BINS_PER_SEMITONE + 1


def _check(*, fmin: float, fmax: float, sr: float, frame_length: int, hop_length: int) -> None:
    if not 0 < fmin < fmax <= sr / 2:
        raise ElisionError(f"f0 from {fmin} to {fmax} Hz at {sr} Hz: the range must lie between 0 and {sr / 2} Hz")
    if sr / fmin >= frame_length - 1:
        raise ElisionError(f"f0 from {fmin} Hz: a period does not fit into {frame_length} samples at {sr} Hz; raise it")
    n_bins, width = _n_bins(fmin, fmax), _transition_width(sr, hop_length)
    if n_bins < max(width, 2):
        raise ElisionError(
            f"f0 from {fmin} to {fmax} Hz is too narrow: speech can cross {width} pitch bins in {hop_length} samples "
            f"at {sr} Hz. Widen the range or shorten the hop"
        )


def _difference(frames: np.ndarray, min_period: int, max_period: int) -> np.ndarray:
    """Return the cumulative mean normalised difference of each frame.

    A. de Cheveigné and H. Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111(4), 2002,
    equations 7 and 8, for the periods from ``min_period`` to ``max_period``: [T, max_period - min_period + 1].
    """
    correlation = librosa.autocorrelate(frames, max_size=max_period + 1, axis=-2)
    energy = np.cumsum(np.square(frames), axis=-2)
    energy[0] = 0  # librosa leaves out the first sample at lag 1; it is followed to keep its numbers
    difference = 2 * (correlation[:1] - correlation[1:]) - energy[:max_period]
    mean = np.cumsum(difference, axis=-2) / np.arange(1, max_period + 1)[:, np.newaxis]
    return np.ascontiguousarray((difference[min_period - 1 :] / (mean[min_period - 1 :] + _TINY)).T)


@lru_cache(maxsize=8)
def _priors(n_periods: int) -> tuple[np.ndarray, ...]:
    """Return what the probabilities of the candidates are made of.

    The thresholds; the prior of each; the probability that a frame's lowest trough gets for n thresholds under it
    [n]; and the prior of the trough of a rank among n + 1 troughs [rank, n].
    """
    thresholds = np.linspace(0, 1, _N_THRESHOLDS + 1)
    threshold_prior = np.diff(scipy.stats.beta.cdf(thresholds, *_BETA_PARAMETERS))
    below_all = _NO_TROUGH_PROBABILITY * np.array([np.sum(threshold_prior[:n]) for n in range(_N_THRESHOLDS + 1)])
    rank, count = np.ogrid[: n_periods // 2 + 1, 1 : n_periods // 2 + 2]
    return thresholds[1:], threshold_prior, below_all, scipy.stats.boltzmann.pmf(rank, _BOLTZMANN_PARAMETER, count)


def _candidates(difference: np.ndarray, min_period: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the candidates of all frames: index of the frame, period in samples, probability."""
    thresholds, threshold_prior, below_all, trough_prior = _priors(difference.shape[1])
    frames, periods, probabilities = [], [], []
    for t, row in enumerate(difference):
        period, prior, lowest, n_below = _troughs(row, thresholds, trough_prior, min_period)
        if len(period) == 0:
            continue
        probability = prior.dot(threshold_prior)
        probability[lowest] += below_all[n_below]
        likely = probability.nonzero()[0]
        frames.append(np.full(len(likely), t))
        periods.append(period[likely])
        probabilities.append(probability[likely])
    if not frames:
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    return np.concatenate(frames), np.concatenate(periods), np.concatenate(probabilities)


@numba.njit(cache=True)
def _troughs(
    difference: np.ndarray, thresholds: np.ndarray, trough_prior: np.ndarray, min_period: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Find the local minima of one frame.

    Returns
    -------
    period : np.ndarray [shape=(m,)]
        Samples, refined by a parabola through the neighbours.
    prior : np.ndarray [shape=(m, n_thresholds)]
        Probability of each trough if that is the threshold.
    lowest, n_below : int
        Which trough is the lowest, and how many thresholds do not lie above it.
    """
    n = len(difference)
    index = np.empty(n // 2 + 1, np.int64)
    m = 0
    for i in range(n):
        falls = i == 0 or difference[i] < difference[i - 1]
        rises = i == n - 1 or difference[i] < difference[i + 1] or (i > 0 and difference[i] == difference[i + 1])
        if falls and rises:
            index[m] = i
            m += 1

    period = np.empty(m)
    prior = np.zeros((m, len(thresholds)))
    rank = np.zeros(len(thresholds), np.int64)
    lowest = 0
    for trough in range(m):
        i = index[trough]
        shift = 0.0
        if 0 < i < n - 1:
            curvature = difference[i + 1] + difference[i - 1] - 2 * difference[i]
            slope = (difference[i + 1] - difference[i - 1]) / 2
            if abs(slope) < abs(curvature):
                shift = -slope / curvature
        period[trough] = min_period + i + shift
        rank += difference[i] < thresholds
        if difference[i] < difference[index[lowest]]:
            lowest = trough
    count = rank.copy()
    rank[:] = 0
    for trough in range(m):
        for threshold in range(len(thresholds)):
            if difference[index[trough]] < thresholds[threshold]:
                prior[trough, threshold] = trough_prior[rank[threshold], count[threshold] - 1]
                rank[threshold] += 1
    n_below = 0
    if m:
        n_below = np.sum(~(difference[index[lowest]] < thresholds))
    return period, prior, lowest, n_below


@lru_cache(maxsize=8)
def _log_transitions(n_bins: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bands of the transition matrix: log probability to stay voiced or unvoiced, and to switch.

    Row ``d`` and column ``j`` are for the step from bin ``j + d - width // 2`` to bin ``j``.
    """
    local = librosa.sequence.transition_local(n_bins, width, window="triangle", wrap=False)
    voicing = librosa.sequence.transition_loop(2, 1 - _SWITCH_PROBABILITY)
    half = width // 2
    band = np.zeros((width, n_bins))
    for d in range(-half, half + 1):
        band[d + half, max(0, -d) : n_bins - max(0, d)] = np.diagonal(local, -d)
    return np.log(voicing[0, 0] * band + _TINY), np.log(voicing[0, 1] * band + _TINY)


@numba.njit(cache=True)
def _viterbi(
    log_voiced: np.ndarray,
    log_unvoiced: np.ndarray,
    log_stay: np.ndarray,
    log_switch: np.ndarray,
    log_tiny: float,
    log_start: float,
) -> np.ndarray:
    """Decode the likeliest path; of two paths as likely, the one through the lower state.

    Parameters
    ----------
    log_voiced : np.ndarray [shape=(T, N)]
        Log probability of what is observed, for each voiced bin.
    log_unvoiced : np.ndarray [shape=(T,)]
        The same for each unvoiced bin.
    log_stay, log_switch : np.ndarray [shape=(width, N)]
        Bands of the transition matrix.
    log_tiny : float
        Log probability of every other transition.
    log_start : float
        Log probability of each first state.

    Returns
    -------
    states : np.ndarray [shape=(T,)]
        0 to N - 1 voiced, N to 2 N - 1 unvoiced.
    """
    T, N = log_voiced.shape
    half = len(log_stay) // 2
    value = np.full((2, N + 2 * half), -np.inf)  # half a band of impossible bins at both ends
    inside = value[:, half : half + N]
    inside[0] = log_voiced[0] + log_start
    inside[1] = log_unvoiced[0] + log_start
    best = np.empty((2, N))
    origin = np.empty((2, N), np.int32)
    pointer = np.empty((T, 2, N), np.uint16)
    for t in range(1, T):
        best[:] = -np.inf
        for target in range(2):
            for source in range(2):
                log_band = log_stay if source == target else log_switch
                _advance(value[source], log_band, source * N - half, best[target], origin[target])
        # Adding may round two values to one, of which the first counts: the largest value alone does not tell.
        far, far_origin = -np.inf, 0
        for source in range(2):
            for j in range(N):
                if inside[source, j] + log_tiny > far:
                    far, far_origin = inside[source, j] + log_tiny, source * N + j
        for target in range(2):
            for j in range(N):
                x, k = best[target, j], origin[target, j] + j
                if far > x or (far == x and far_origin < k):
                    x, k = far, far_origin
                inside[target, j] = x + (log_voiced[t, j] if target == 0 else log_unvoiced[t])
                pointer[t, target, j] = k
    states = np.empty(T, np.int64)
    states[-1] = np.argmax(inside)
    for t in range(T - 2, -1, -1):
        states[t] = pointer[t + 1, states[t + 1] // N, states[t + 1] % N]
    return states


@numba.njit(cache=True)
def _advance(value: np.ndarray, log_band: np.ndarray, first: int, best: np.ndarray, origin: np.ndarray) -> None:
    """Raise ``best`` of each bin to its best transition within the band; its origin is ``first + row + bin``.

    Bins run in the inner loop, so that the compiler can take several at a time.
    """
    for row in range(len(log_band)):
        for j in range(len(best)):
            x = value[row + j] + log_band[row, j]
            if x > best[j]:
                best[j] = x
                origin[j] = first + row
