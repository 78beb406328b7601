"""Description of speech as in CH-SIMS: MFCC, constant-Q chroma and log F0 per frame.

W. Yu et al., "CH-SIMS: a Chinese multimodal sentiment analysis dataset with fine-grained annotation of modality",
ACL 2020, section 3.3.
"""

import math
import warnings
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from elision.features.gating import spectral_gating
from elision.features.media import kept_until, read_audio
from elision.features.pyin import pyin
from elision.settings.params import AudioFeatures, VisionFeatures
from elision.store import Extracted

_N_FFT = 2048
_LOWEST_NOTE = librosa.note_to_hz("C1")
_BINS_PER_CHROMA = 3
_SILENT = 1e-4  # of full scale


@dataclass(frozen=True, eq=False)
class Sound:
    """The decoded audio track of a clip, as far as it is described.

    Attributes
    ----------
    y : np.ndarray [shape=(n,), dtype=float32] or None
        Mono signal at ``AudioFeatures.sample_rate``; None without an audio track.
    end : Fraction or None
        Second at which the clip is cut; None: it is whole.
    facts : dict
        Of `media.read_audio`.
    """

    y: np.ndarray | None
    end: Fraction | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def read(path: str | Path, settings: AudioFeatures, *, vision: VisionFeatures | None = None) -> Sound:
    """Decode the audio track of a file.

    Parameters
    ----------
    path : str or Path
    settings : AudioFeatures
        ``max_length``: so many frames are kept, and no more is decoded.
    vision : VisionFeatures, optional
        What its ``max_length`` leaves out of the video is left out of the audio as well.

    Raises
    ------
    ElisionError
        If the audio cannot be decoded.
    """
    facts: dict[str, Any] = {}
    end = kept_until(path, audio=settings, vision=vision)
    return Sound(read_audio(path, sample_rate=settings.sample_rate, end=end, facts=facts), end, facts)


def extract(path: str | Path, settings: AudioFeatures, *, vision: VisionFeatures | None = None) -> Extracted:
    """Describe the audio track of a file: see `read` and `of_sound`."""
    return of_sound(read(path, settings, vision=vision), settings)


def of_sound(sound: Sound, settings: AudioFeatures) -> Extracted:
    """Describe a sound.

    Parameters
    ----------
    sound : Sound
    settings : AudioFeatures
        ``gating``: steady noise is reduced first.

    Returns
    -------
    extracted : Extracted
        Values [shape=(T, d), dtype=float32] as of ``describe``; no rows without an audio track. Frame t is at second
        t * hop_length / sample_rate of the file. Facts are those of the sound, and ``silent``: no sample is above
        -80 dB.

    Raises
    ------
    ElisionError
        If the range of F0 does not suit the sampling rate and the hop.
    """
    if sound.y is None:
        return Extracted(np.zeros((0, len(feature_names(settings))), np.float32))
    facts = dict(sound.facts)
    if is_silent(sound.y):
        facts["silent"] = True
    y = spectral_gating(sound.y, settings.sample_rate) if settings.gating else sound.y
    values = describe(y, settings)
    if sound.end is not None:  # the last frame is centred on the end of the signal, or beyond
        values = values[: math.ceil(sound.end * settings.sample_rate / settings.hop_length)]
    return Extracted(values, facts=facts)


def is_silent(y: np.ndarray) -> bool:
    """Return whether no sample of a signal is above -80 dB."""
    return bool(np.abs(y).max() < _SILENT)


@threadpool_limits.wrap(limits=1, user_api="blas")  # with more threads, matrix products are rounded otherwise
def describe(y: np.ndarray, settings: AudioFeatures) -> np.ndarray:
    """Describe a waveform.

    Frame ``t`` is centred on sample ``t * hop_length``; beyond its ends the signal is zero. Every extractor gives
    ``1 + n // hop_length`` frames, but the constant-Q transform, which halves the sampling rate at every octave, may
    round otherwise: all are cut to the shortest. A signal shorter than the longest constant-Q filter is extended by
    zeros, of which no frame is kept.

    Parameters
    ----------
    y : np.ndarray [shape=(n,), dtype=float32]
        Mono signal at ``settings.sample_rate``.
    settings : AudioFeatures

    Returns
    -------
    features : np.ndarray [shape=(T, mfcc + chroma + 1), dtype=float32]
        MFCC; chroma, relative to the strongest of the frame, all 0 in silence; the natural logarithm of F0 in Hz by
        pYIN, 0 where the frame is unvoiced.

    Raises
    ------
    ElisionError
        If the range of F0 does not suit the sampling rate and the hop.
    """
    sr, hop_length = settings.sample_rate, settings.hop_length
    two_periods = 2 * sr / settings.f0_min
    f0, voiced, _ = pyin(
        y,
        fmin=settings.f0_min,
        fmax=settings.f0_max,
        sr=sr,
        frame_length=max(_N_FFT, 2 ** int(np.ceil(np.log2(two_periods)))),
        hop_length=hop_length,
    )
    log_f0 = np.log(np.where(voiced, f0, 1.0))

    bins_per_octave = _BINS_PER_CHROMA * settings.chroma
    # Seven octaves, as is usual, where they and the width of the highest filter lie below half the sampling rate.
    n_octaves = min(7, int(np.log2(0.95 * sr / 2 / _LOWEST_NOTE)))
    padded = np.pad(y, (0, max(0, _filter_length(sr, bins_per_octave, n_octaves) - len(y))))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Trying to estimate tuning from empty frequency set")  # taken as 0
        chroma = librosa.feature.chroma_cqt(
            y=padded,
            sr=sr,
            hop_length=hop_length,
            n_chroma=settings.chroma,
            n_octaves=n_octaves,
            bins_per_octave=bins_per_octave,
        )
    mfcc = librosa.feature.mfcc(
        y=padded, sr=sr, n_mfcc=settings.mfcc, n_mels=max(128, settings.mfcc), n_fft=_N_FFT, hop_length=hop_length
    )
    n_frames = min(len(log_f0), mfcc.shape[1], chroma.shape[1])
    columns = [mfcc[:, :n_frames], chroma[:, :n_frames], log_f0[np.newaxis, :n_frames]]
    return np.ascontiguousarray(np.concatenate(columns).T, np.float32)


def _filter_length(sr: int, bins_per_octave: int, n_octaves: int) -> int:
    """Return the samples of the Fourier transform that the longest constant-Q filter needs."""
    frequencies = librosa.cqt_frequencies(
        n_octaves * bins_per_octave, fmin=_LOWEST_NOTE, bins_per_octave=bins_per_octave
    )
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies, sr=sr)
    return 2 ** int(np.ceil(np.log2(lengths.max()) + 1 / bins_per_octave))  # tuning lowers it by up to half a bin


def prepare(settings: AudioFeatures) -> None:
    """Compile every function: describe a tone, which is voiced."""
    describe(np.sin(0.06 * np.arange(settings.sample_rate)).astype(np.float32), settings)


def feature_names(settings: AudioFeatures) -> list[str]:
    """Return a name for each column."""
    mfcc = [f"mfcc_{i}" for i in range(settings.mfcc)]
    return [*mfcc, *(f"chroma_{i}" for i in range(settings.chroma)), "log_f0"]


def frame_rate(settings: AudioFeatures) -> float:
    """Return frames per second."""
    return settings.sample_rate / settings.hop_length


def extractor(settings: AudioFeatures) -> str:
    """Return the name of the software."""
    return "librosa"


def version(settings: AudioFeatures) -> str:
    """Return the version of the software."""
    return librosa.__version__


def described(settings: AudioFeatures) -> dict[str, Any]:
    """Return what the header tells of the extractor: the settings that decide values."""
    return settings.described()
