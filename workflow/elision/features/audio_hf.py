"""Sound as hidden states of a speech model of the Hugging Face hub: wav2vec 2.0, HuBERT, WavLM, Whisper's encoder.

A clip is alone in its batch, so that nothing is padded: how loud the padding is would change every frame of some of
these models. A clip that is longer than a piece is computed in pieces that overlap.
"""

from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from elision.errors import ElisionError
from elision.features import audio, hf
from elision.features.gating import spectral_gating
from elision.features.hf import Loaded
from elision.settings.params import AudioFeatures
from elision.store import Extracted

if TYPE_CHECKING:
    import torch

read = audio.read

PIECE = 30.0  # seconds; Whisper has a window of its own
OVERLAP = 4.0  # seconds that two pieces share, of which each gives the half that is further from its edge


def prepare(settings: AudioFeatures) -> None:
    """Load the model, and check that the settings suit it.

    Raises
    ------
    ElisionError
        If the model is missing, is no model of sound, or has another sampling rate or frame rate.
    """
    _model(settings)


def _model(settings: AudioFeatures) -> Loaded:
    found = hf.loaded(settings)
    rate, hop = getattr(found.processor, "sampling_rate", None), _hop(found)
    for key, value in (("sample_rate", rate), ("hop_length", hop)):
        if value != getattr(settings, key):
            raise ElisionError(
                f"features.audio.{key} is {getattr(settings, key)}, but {settings.model} has {value}; write {key}: "
                f"{value}"
            )
    return found


def _is_whisper(found: Loaded) -> bool:
    return found.config.model_type == "whisper"


def _hop(found: Loaded) -> int:
    """Return the samples between two frames of a model."""
    if _is_whisper(found):
        return 2 * found.processor.hop_length  # its second convolution keeps every other frame
    hop = getattr(found.config, "inputs_to_logits_ratio", None)
    if hop is None or not hasattr(found.config, "conv_kernel"):
        raise ElisionError(
            f"features.audio.model: {found.settings.model} is a {found.config.model_type}, which reads no waveform; "
            "give a model of the kind of wav2vec 2.0, HuBERT, WavLM or Whisper"
        )
    return int(hop)


def _receptive(found: Loaded) -> int:
    """Return the samples that one frame is computed from, at least."""
    samples = 1
    for kernel, stride in zip(reversed(found.config.conv_kernel), reversed(found.config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def of_sound(sound: audio.Sound, settings: AudioFeatures) -> Extracted:
    """Describe a sound.

    Parameters
    ----------
    sound : audio.Sound
    settings : AudioFeatures
        ``gating``: steady noise is reduced first.

    Returns
    -------
    extracted : Extracted
        Values [shape=(T, d), dtype=float32] as of `describe`, or their mean [shape=(1, d)]; no rows without an audio
        track. Frame t is at second t * hop_length / sample_rate. Facts as of `audio.of_sound`.

    Raises
    ------
    ElisionError
        See `prepare`.
    """
    if sound.y is None:
        return Extracted(np.zeros((0, len(feature_names(settings))), np.float32))
    facts = dict(sound.facts)
    if audio.is_silent(sound.y):
        facts["silent"] = True
    y = spectral_gating(sound.y, settings.sample_rate) if settings.gating else sound.y
    values = describe(y, settings)
    if sound.end is not None:
        values = values[: ceil(sound.end * settings.sample_rate / settings.hop_length)]
    return Extracted(hf.mean(values) if settings.pool == "mean" else values, facts=facts)


def describe(y: np.ndarray, settings: AudioFeatures, *, piece: float = PIECE, overlap: float = OVERLAP) -> np.ndarray:
    """Compute the hidden states of a waveform.

    Parameters
    ----------
    y : np.ndarray [shape=(n,), dtype=float32]
        Mono signal at ``settings.sample_rate``. A signal shorter than what one frame needs is extended by zeros.
    settings : AudioFeatures
    piece : float
        Seconds of the longest piece. Whisper has pieces of its own window, and fills the last one with silence, as in
        its training.
    overlap : float
        Seconds that two pieces share.

    Returns
    -------
    states : np.ndarray [shape=(T, d), dtype=float32]
        T is about n / hop_length.

    Raises
    ------
    ElisionError
        See `prepare`.
    """
    import torch

    found, hop = _model(settings), settings.hop_length
    whisper = _is_whisper(found)
    if whisper:
        signal, longest = y, int(found.processor.n_samples)
    else:
        y = np.pad(y, (0, max(0, _receptive(found) - len(y))))
        # Scaled as a whole, before it is cut to pieces.
        signal = found.processor(y, sampling_rate=settings.sample_rate, return_tensors="np")["input_values"][0]
        longest = round(piece * settings.sample_rate / hop) * hop
    # Frames that a piece leaves to its neighbour; two at the least, since convolutions end before the sound does.
    half = max(2, round(min(overlap * settings.sample_rate, longest / 2) / 2 / hop))
    starts = _starts(len(signal), longest, step=longest - 2 * half * hop, hop=hop)
    pieces = [signal[start : start + longest] for start in starts]
    states: list[np.ndarray] = []
    for _, alike in groupby(pieces, len):
        several = list(alike)
        for first in range(0, len(several), settings.batch_size):
            batch = several[first : first + settings.batch_size]
            given = _of_whisper(found, batch) if whisper else {"input_values": torch.from_numpy(np.stack(batch))}
            made = found.states(**given).cpu().numpy()
            states += [each[: ceil(len(part) / hop)] for each, part in zip(made, batch, strict=True)]
    edges = [0, *(start // hop + half for start in starts[1:]), starts[-1] // hop + len(states[-1])]
    kept = [
        each[begin - start // hop : end - start // hop]
        for each, start, begin, end in zip(states, starts, edges, edges[1:], strict=False)
    ]
    return np.ascontiguousarray(np.concatenate(kept))


def _of_whisper(found: Loaded, batch: list[np.ndarray]) -> "dict[str, torch.Tensor]":
    made = found.processor(batch, sampling_rate=found.processor.sampling_rate, return_tensors="pt")
    return {"input_features": made["input_features"]}


def _starts(length: int, longest: int, *, step: int, hop: int) -> list[int]:
    """Return where pieces begin: a step apart, the last one so that it ends with the signal."""
    if length <= longest:
        return [0]
    last = ceil((length - longest) / hop) * hop
    return [*range(0, last, step), last]


def feature_names(settings: AudioFeatures) -> list[str]:
    """Return a name for each column."""
    return hf.names(hf.loaded(settings).width)


def frame_rate(settings: AudioFeatures) -> float | None:
    """Return frames per second; None for the mean of a clip."""
    return None if settings.pool == "mean" else settings.sample_rate / settings.hop_length


def extractor(settings: AudioFeatures) -> str:
    """Return the name of the extractor."""
    return settings.extractor


def version(settings: AudioFeatures) -> str:
    """Return the version of the software and of the weights."""
    return hf.version(settings)


def described(settings: AudioFeatures) -> dict:
    """Return what the header tells of the extractor."""
    return hf.said_of(settings)
