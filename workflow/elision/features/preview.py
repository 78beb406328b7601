"""A corrupted clip as a file to hear and see: H.264 and AAC in MP4, or AAC alone in M4A."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from elision.corruption.medium import MODALITY, MediaKind
from elision.errors import ElisionError
from elision.features.corrupted import Corruptor
from elision.files import replacing

_CLOCK = 90_000  # ticks of time stamps per second, as in MPEG
_QUALITY = "18"  # constant rate factor, at which H.264 adds no loss that is seen
_SAMPLES = 1024  # of a frame of AAC


def write(
    corruptor: Corruptor, row: Any, kind: MediaKind, severity: int, output: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Corrupt a clip, write it, and measure it, and the clean clip, as the extraction hears and sees them.

    Parameters
    ----------
    corruptor : Corruptor
    row : row of the table of clips
        With a path.
    kind : MediaKind
    severity : int
    output : Path
        With the ending ``.mp4``; ``.m4a`` for a clip without pictures.

    Returns
    -------
    measured, clean : dict
        What was measured of the corrupted clip, and of the clean one.

    Raises
    ------
    ElisionError
        If the clip cannot be decoded or corrupted, lacks what the kind corrupts, or is the output.
    """
    modality = MODALITY[kind.medium]
    if output.exists() and output.samefile(row.path):
        raise ElisionError(f"{output} is the clip itself; give another file with --out")
    read = corruptor.read(row, ["audio", "vision", *(["text"] if row.text else [])])
    if read.get(modality) is None:
        lacking = {"audio": "no sound", "vision": "no pictures", "text": "no transcript; give it with --text"}[modality]
        raise ElisionError(f"{row.path}: {kind.name} corrupts {kind.medium}, but the clip has {lacking}")
    concerned = {modality: read[modality]}
    if modality == "audio" and corruptor.recognises and row.text:
        concerned["text"] = read["text"]
    measured: dict[str, Any] = {}
    signals = {**read, **corruptor.corrupted(row, [(kind, severity)], concerned, measured)}
    sound, pictures = signals["audio"], signals["vision"]
    with replacing(output) as temporary:
        frames = iter(()) if pictures is None else pictures.frames({})
        _encode(temporary, frames, None if sound is None else sound.y, corruptor.features.audio.sample_rate)
    more = corruptor.extracted(row, [(kind, severity)], concerned)[1]
    return {**measured, **more}, corruptor.extracted(row, [], {modality: read[modality]})[1]


def _encode(path: Path, frames: Iterator[tuple[Fraction, np.ndarray]], y: np.ndarray | None, rate: int) -> None:
    first = next(frames, None)
    if first is None and y is None:
        raise ElisionError("nothing is left of the clip; there is no file to write")
    with av.open(str(path), "w", format="mp4") as container:
        video = audio = None
        if first is not None:
            height, width = (side - side % 2 for side in first[1].shape[:2])  # pixels of colour are half as many
            video = container.add_stream("libx264", options={"crf": _QUALITY})
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, _CLOCK)
            video.codec_context.thread_count = 1
        if y is not None:
            audio = container.add_stream("aac", rate=rate, layout="mono")
        pictures = [] if first is None else chain([first], frames)
        # The sound comes along with the pictures, so that the muxer need not hold either.
        sounds = _sounds(y, rate)
        waiting = next(sounds, None)
        for second, picture in pictures:
            while audio is not None and waiting is not None and waiting.pts <= second * rate:
                container.mux(audio.encode(waiting))
                waiting = next(sounds, None)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = round(second * _CLOCK), Fraction(1, _CLOCK)
            container.mux(video.encode(frame))
        for sound in _rest(waiting, sounds) if audio is not None else ():
            container.mux(audio.encode(sound))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode())


def _rest(waiting: av.AudioFrame | None, sounds: Iterator[av.AudioFrame]) -> Iterable[av.AudioFrame]:
    return sounds if waiting is None else chain([waiting], sounds)


def _sounds(y: np.ndarray | None, rate: int) -> Iterator[av.AudioFrame]:
    """Cut a sound into frames; what is beyond full scale is clipped, as a player would."""
    for start in range(0, 0 if y is None else len(y), _SAMPLES):
        part = np.clip(y[start : start + _SAMPLES], -1, 1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(part[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame
