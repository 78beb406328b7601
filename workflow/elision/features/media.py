"""Reading of video and audio files, by FFmpeg's decoders (PyAV).

Everything is decoded in one thread and in full, so that two readings of a file give the same numbers. A file is opened
only if its content is of a format on a list: FFmpeg also reads playlists, manifests and session descriptions, which
name other files or addresses that FFmpeg then opens, and may wait for without end.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from elision.errors import ElisionError
from elision.files import is_file

_REMEDY = "convert it with ffmpeg, or take it out of the dataset"

# FFmpeg's names of the formats that are opened, all of which hold their own data. A format that reads other files has
# no place here. QuickTime's references to other files (dref) are not followed: FFmpeg's enable_drefs is off by default.
FORMATS = (
    *("mov", "matroska", "avi", "mpeg", "mpegts", "flv", "asf", "ogg", "dv", "ivf"),  # mov: mp4, m4a, 3gp as well
    *("h264", "hevc", "obu", "mpegvideo", "m4v"),  # video without a container
    *("wav", "w64", "aiff", "au", "caf", "voc", "nistsphere", "flac", "ape", "wv", "tta"),
    *("mp3", "aac", "loas", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb"),
)
_IN_SHORT = "mp4, mov, 3gp, mkv, webm, avi, mpg, ts, flv, wmv, ogg, wav, aiff, au, caf, flac, mp3, aac, ac3, amr, ..."

# How files begin that are not opened, to say what a file is: FFmpeg refuses a format without naming it.
_OTHERS = {
    "an HLS playlist": rb"#EXTM3U",
    "an FFmpeg list of files (ffconcat)": rb"ffconcat version",
    "a DASH manifest": rb"(<\?xml.*?)?<MPD[\s>]",
    "an IMF playlist": rb"(<\?xml.*?)?<(\w+:)?(CompositionPlaylist|AssetMap|PackingList)[\s>]",
    "a Smooth Streaming manifest": rb"(<\?xml.*?)?<SmoothStreamingMedia[\s>]",
    "a playlist (ASX, SMIL or XSPF)": rb"(<\?xml.*?)?<((?i:asx|smil)|playlist)[\s>]|\[Reference\]",
    "a playlist (PLS)": rb"(?i:\[playlist\])",
    "a session description (SDP)": rb"v=0\r?\n[a-z]=",
    "FFmpeg metadata": rb";FFMETADATA",
    "subtitles": rb"WEBVTT|\d+\s+\d+:\d\d:\d\d[.,]\d+ *-->|\[Script Info\]",
    "an image": rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s",
    "an MXF file": rb"\x06\x0e\x2b\x34\x02\x05\x01\x01",
    "a RealMedia file": rb"\.RMF|\.ra\xfd",
}


@dataclass(frozen=True)
class Media:
    """What a file holds.

    Attributes
    ----------
    duration : float
        Seconds.
    audio, vision : bool
        Whether there is an audio track, a video track, with something in it.
    fps : float or None
        Mean number of video frames per second; None without a video track, or when the file does not say.
    width, height : int or None
        Pixels of a frame as it is displayed (after rotation); None without a video track.
    """

    duration: float
    audio: bool
    vision: bool
    fps: float | None = None
    width: int | None = None
    height: int | None = None


def probe(path: str | Path) -> Media:
    """Open a file, decode the first frame of its audio and video tracks and tell what it holds.

    Pictures are no video: neither image files nor the cover of an audio file count as a video track.

    Parameters
    ----------
    path : str or Path
        A video or audio file in one of `FORMATS`.

    Returns
    -------
    Media

    Raises
    ------
    ElisionError
        If the file is missing, of another format, cannot be read, holds no audio or video, or one of its tracks does
        not decode.
    """
    path = Path(path)
    sound = _first_frame(path, "audio")
    picture = _first_frame(path, "video")
    if sound is None and picture is None:
        raise ElisionError(f"{path}: holds no audio or video; {_REMEDY}")
    duration = _duration(path)
    if picture is None:
        return Media(duration, audio=sound is not None, vision=False)
    height, width = _upright(picture).shape[:2]
    with _open(path) as container:
        stream = _stream(container, "video")
        rate = stream.average_rate or stream.guessed_rate
    return Media(duration, sound is not None, True, float(rate) if rate else None, width, height)


def read_audio(path: str | Path, *, sample_rate: int) -> np.ndarray | None:
    """Decode the first audio track.

    The channels are averaged, whatever their layout. Where FFmpeg marks samples as padding of the codec they are left
    out; pauses between time stamps are not filled.

    Parameters
    ----------
    path : str or Path
    sample_rate : int
        Hz, of the returned signal.

    Returns
    -------
    y : np.ndarray [shape=(n,), dtype=float32] or None
        Samples, nominally in [-1, 1]; None when the file has no audio track.

    Raises
    ------
    ElisionError
        If the file cannot be read, its audio does not decode to the end, holds no sample, or one that is not finite.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _stream(container, "audio")
        if stream is None:
            return None
        resampler = av.AudioResampler(format="fltp", rate=sample_rate)
        chunks = [
            part.to_ndarray().mean(axis=0, dtype=np.float32)
            for frame in chain(_decode(path, container, stream), [None])  # None flushes the resampler
            for part in resampler.resample(frame)
        ]
    if not any(len(chunk) for chunk in chunks):
        raise ElisionError(f"{path}: its audio track gives no sample; {_REMEDY}")
    y = np.concatenate(chunks)
    if not np.isfinite(y).all():
        raise ElisionError(f"{path}: its audio track holds samples that are no numbers; {_REMEDY}")
    return y


def read_frames(path: str | Path, *, fps: float | None = None) -> Iterator[np.ndarray]:
    """Decode the first video track, frame by frame, in the order of presentation.

    Frames are turned upright as the file's display matrix says (videos of phones); mirroring is not undone.

    Parameters
    ----------
    path : str or Path
    fps : float, optional
        Frames per second. At each multiple of 1 / fps seconds after the first frame the frame that is nearest in
        presentation time is taken, and no frame twice: a video with fewer frames per second comes as it is. By
        default every frame.

    Yields
    ------
    frame : np.ndarray [shape=(height, width, 3), dtype=uint8]
        RGB. Nothing is yielded when the file has no video track.

    Raises
    ------
    ElisionError
        While iterating, if the file cannot be read, its video does not decode to the end, or there is not one frame.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _stream(container, "video")
        if stream is None:
            return
        frames = _decode(path, container, stream)
        for frame in frames if fps is None else _nearest(frames, fps):
            yield _upright(frame)


@contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    _refuse_no_file(path)
    # The format is judged by content, before anything is read that the content may refer to; a file with any name may
    # be a playlist. What a demuxer opens within a file has the same two lists.
    allowed = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    try:
        # "file:" keeps FFmpeg from reading a protocol out of a colon in the name.
        container = av.open(f"file:{path}", options=allowed, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise ElisionError(f"{path}: {_why_not(path, error)}") from error
    try:
        with container:
            yield container
    except (av.FFmpegError, ValueError) as error:  # ValueError: the audio format changes on the way
        raise ElisionError(f"{path}: cannot be decoded ({_reason(error)}); {_REMEDY}") from error


def _refuse_no_file(path: Path) -> None:
    """Refuse what is not a file with something in it; a pipe would be waited for without end."""
    if not is_file(path):
        # Path's own methods raise where a name is too long.
        if os.path.isdir(path):  # noqa: PTH112
            raise ElisionError(f"{path}: is a folder; give a video or audio file")
        if os.path.exists(path):  # noqa: PTH110
            raise ElisionError(f"{path}: is a pipe, a socket or a device; give a video or audio file")
        raise ElisionError(f"{path}: no such file")
    if not path.stat().st_size:
        raise ElisionError(f"{path}: is empty; copy it again, or take it out of the dataset")


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _why_not(path: Path, error: Exception) -> str:
    """Say why FFmpeg did not open a file: its format is not on the list, or its content is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as denied:
        return f"cannot be read ({denied.strerror})"
    kind = next((kind for kind, sign in _OTHERS.items() if re.match(sign, start, re.DOTALL)), None)
    if kind == "an image":
        return f"is an image and holds no audio or video; {_REMEDY}"
    if kind or isinstance(error, av.ArgumentError):  # FFmpeg: the format is not on the list
        whole = f"{shlex.quote(str(path))} -c copy {shlex.quote(str(path.with_suffix('.mkv').name))}"
        return (
            f"is {kind or 'of another format'}; only files that hold all of their data are opened: {_IN_SHORT} "
            f"Write one with: ffmpeg -i {whole}"
        )
    return f"cannot be decoded ({_reason(error)}); {_REMEDY}"


def _stream(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """Return the first audio or video stream, set to decode in one thread; None when there is none."""
    picture = av.stream.Disposition.attached_pic | av.stream.Disposition.still_image
    for stream in container.streams:
        if stream.type == kind and not (kind == "video" and stream.disposition & picture):
            if stream.codec_context:  # None without a decoder, which decoding then reports
                stream.codec_context.thread_count = 1
            return stream
    return None


def _first_frame(path: Path, kind: str) -> av.frame.Frame | None:
    """Return None when there is no such track, or nothing is in it; one that does not decode is an ElisionError."""
    with _open(path) as container:
        stream = _stream(container, kind)
        return next(container.decode(stream), None) if stream else None


def _decode(path: Path, container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.frame.Frame]:
    """Yield the frames of a track; an ElisionError follows if there is none, or the last part of them is missing."""
    end = None
    for _, frame_end, frame in _timed(container.decode(stream)):
        end = frame_end
        yield frame
    if end is None:
        raise ElisionError(f"{path}: its {stream.type} track gives nothing; {_REMEDY}")
    # FFmpeg takes the sudden end of a file, and damage in a Matroska file, for the end of the track.
    declared = _declared_end(container, stream)
    if declared - end > max(0.5, 0.1 * declared):
        raise ElisionError(
            f"{path}: its {stream.type} track ends after {float(end):.2f} s of {declared:.2f} s: "
            f"the file is cut off or damaged; {_REMEDY}"
        )


def _declared_end(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """Return the second at which a track ends by the file's own tables; 0 where they do not say, or just estimate."""
    if "matroska" in container.format.name:
        hours, minutes, seconds = stream.metadata.get("DURATION", "0:0:0").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.format.name.startswith("mov") and stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return 0.0


def _duration(path: Path) -> float:
    """Return seconds, as the container or its longest track says, or by decoding."""
    with _open(path) as container:
        if container.duration:  # FFmpeg fills it from the tracks where the container itself does not say
            return container.duration / av.time_base
    spans = []
    for kind in ("audio", "video"):
        with _open(path) as container:
            stream = _stream(container, kind)
            times = [(start, end) for start, end, _ in _timed(container.decode(stream))] if stream else []
        if times:
            spans.append(times[-1][1] - times[0][0])
    return float(max(spans))


def _timed(frames: Iterable[av.frame.Frame]) -> Iterator[tuple[Fraction, Fraction, av.frame.Frame]]:
    """Yield the start and the end of each frame in seconds, exact, and the frame."""
    end = Fraction(0)
    for frame in frames:
        # A raw stream has no time stamps, just durations.
        start = end if frame.pts is None else frame.pts * frame.time_base
        end = start + (frame.duration or 0) * frame.time_base
        yield start, end, frame


def _nearest(frames: Iterable[av.VideoFrame], fps: float) -> Iterator[av.VideoFrame]:
    """Yield the frame nearest to each multiple of 1 / fps, once; of two as near, the earlier."""
    step = 1 / Fraction(fps)
    tick = before = last = taken = None
    for start, frame_end, frame in _timed(frames):
        tick = start if tick is None else tick
        while tick <= start:
            best = last if last is not None and tick - before <= start - tick else frame
            if best is not taken:
                yield best
                taken = best
            tick += step
        before, end, last = start, frame_end, frame
    if last is not taken and tick < end:
        yield last


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """Return the frame as RGB, turned by its display matrix to the nearest quarter turn."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
