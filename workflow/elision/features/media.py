"""Reading of video and audio files, by FFmpeg's decoders (PyAV).

Everything is decoded in one thread, so that two readings of a file give the same numbers. A file is opened only if its
content is of a format on a list: FFmpeg also reads playlists, manifests and session descriptions, which name other
files or addresses that FFmpeg then opens, and may wait for without end.

All tracks share the clock of the file: second 0 is the earliest time at which a track has a sample or a picture, as in
a player. Audio is filled with silence up to its time stamps, and each picture comes with its own time. Where a file has
several tracks of a kind, FFmpeg's choice is read. ``facts`` collect what a reader would not expect of a clip:

========= ============================================================================================
``cut``   second at which reading ended, though the track goes on
``filled`` seconds of silence that stand where the audio track has no samples
``track`` "2 of 3": which of several audio or video tracks was read, counted among tracks of its kind
========= ============================================================================================
"""

import os
import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from elision.errors import ElisionError
from elision.files import is_file
from elision.settings.params import AudioFeatures, VisionFeatures

_REMEDY = "convert it with ffmpeg, or take it out of the dataset"

# FFmpeg's names of the formats that are opened, all of which hold their own data. A format that reads other files has
# no place here. QuickTime's references to other files (dref) are not followed: FFmpeg's enable_drefs is off by default.
FORMATS = (
    *("mov", "matroska", "avi", "mpeg", "mpegts", "flv", "asf", "ogg", "dv", "ivf"),  # mov: mp4, m4a, 3gp as well
    *("h264", "hevc", "obu", "mpegvideo", "m4v"),  # video without a container
    *("wav", "w64", "aiff", "au", "caf", "voc", "nistsphere", "flac", "ape", "wv", "tta"),
    *("mp3", "aac", "loas", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb"),
)
# Recordings in these formats are joined end to end, and keep their own time stamps; FFmpeg's limit is 10 s as well.
_JOINED = ("mpeg", "mpegts")
_LEAP = 10  # seconds
_STEP_BACK = Fraction(1, 2)  # seconds
_JITTER = Fraction(1, 50)  # seconds; time stamps of audio are rounded by some containers, by up to 16 ms
_LONGEST_PAUSE = 3600  # seconds; more is no pause but a damaged time stamp

_IN_SHORT = "mp4, mov, 3gp, mkv, webm, avi, mpg, ts, flv, wmv, ogg, wav, aiff, au, caf, flac, mp3, aac, ac3, amr, ..."

_KINDS = ("audio", "video")

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


_Timed = tuple[Fraction, Fraction, av.frame.Frame]  # start and end in seconds, as the file counts, and the frame


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
        Square pixels of a frame as a player shows it (stretched and turned); None without a video track.
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
    sound, picture = _first(path, "audio"), _first(path, "video")
    if sound is None and picture is None:
        raise ElisionError(f"{path}: holds no audio or video; {_REMEDY}")
    duration = _duration(path, _zero(path, (sound, picture)))
    if picture is None:
        return Media(duration, audio=sound is not None, vision=False)
    with _open(path) as container:
        stream = _stream(container, "video")
        height, width = _Screen(stream).show(picture[2]).shape[:2]
        rate = stream.average_rate or stream.guessed_rate
    return Media(duration, sound is not None, True, float(rate) if rate else None, width, height)


def read_audio(
    path: str | Path, *, sample_rate: int, end: Fraction | None = None, facts: dict[str, Any] | None = None
) -> np.ndarray | None:
    """Decode an audio track from second 0 of the file on.

    The channels are averaged, whatever their layout. Where FFmpeg marks samples as padding of the codec they are left
    out. Where the track starts late or pauses between time stamps, for more than 20 ms, silence is filled in; what time
    stamps put before the end of what is already there is left out.

    Parameters
    ----------
    path : str or Path
    sample_rate : int
        Hz, of the returned signal.
    end : Fraction, optional
        Second at which reading ends.
    facts : dict, optional
        Takes ``cut``, ``filled`` and ``track``, where they are to be told.

    Returns
    -------
    y : np.ndarray [shape=(n,), dtype=float32] or None
        Samples, nominally in [-1, 1]; sample k is that of second k / sample_rate; None when the file has no audio
        track.

    Raises
    ------
    ElisionError
        If the file cannot be read, its audio does not decode to the end, holds no sample, or one that is not finite.
    """
    path, facts = Path(path), {} if facts is None else facts
    zero = _zero(path)
    with _open(path) as container:
        stream = _stream(container, "audio")
        if stream is None:
            return None
        _tell_track(container, stream, facts)
        parts, length, filled = [], 0, 0
        frames = _until(_decode(path, container, stream), zero, end, facts)
        for start, run in _runs(frames):
            resampler = av.AudioResampler(format="fltp", rate=sample_rate)
            chunks = [
                part.to_ndarray().mean(axis=0, dtype=np.float32)
                for frame in chain(run, [None])  # None flushes the resampler
                for part in resampler.resample(frame)
            ]
            y = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
            late = round((start - zero) * sample_rate) - length
            if late > _LONGEST_PAUSE * sample_rate:
                raise ElisionError(f"{path}: its audio track pauses for {late // sample_rate} s; {_REMEDY}")
            if late > _JITTER * sample_rate:
                parts.append(np.zeros(late, np.float32))
                filled += late
            elif late < -_JITTER * sample_rate:
                y = y[-late:]
            parts.append(y)
            length = sum(map(len, parts))
    if length == filled:
        raise ElisionError(f"{path}: its audio track gives no sample; {_REMEDY}")
    y = np.concatenate(parts)
    if not np.isfinite(y).all():
        raise ElisionError(f"{path}: its audio track holds samples that are no numbers; {_REMEDY}")
    if filled:
        facts["filled"] = round(filled / sample_rate, 3)
    if end is not None and len(y) > (most := round(end * sample_rate)):
        y = y[:most]
        facts["cut"] = float(end)
    return y


def read_frames(
    path: str | Path, *, fps: float | None = None, end: Fraction | None = None, facts: dict[str, Any] | None = None
) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Decode a video track, frame by frame, in the order of presentation.

    Frames come as a player shows them: stretched to square pixels, and turned and mirrored as the file's display matrix
    says (videos of phones). All have the size of the first.

    Parameters
    ----------
    path : str or Path
    fps : float, optional
        Frames per second. At each multiple of 1 / fps seconds after the first frame the frame that is nearest in
        presentation time is taken, and no frame twice: a video with fewer frames per second comes as it is. By
        default every frame.
    end : Fraction, optional
        Second at which reading ends.
    facts : dict, optional
        Takes ``cut`` and ``track``, where they are to be told.

    Yields
    ------
    second : Fraction
        When the frame is shown, from second 0 of the file on.
    frame : np.ndarray [shape=(height, width, 3), dtype=uint8]
        RGB. Nothing is yielded when the file has no video track.

    Raises
    ------
    ElisionError
        While iterating, if the file cannot be read, its video does not decode to the end, or there is not one frame.
    """
    path, facts = Path(path), {} if facts is None else facts
    zero = _zero(path)
    with _open(path) as container:
        stream = _stream(container, "video")
        if stream is None:
            return
        _tell_track(container, stream, facts)
        screen = _Screen(stream)
        frames = _until(_decode(path, container, stream), zero, end, facts)
        for start, _, frame in frames if fps is None else _nearest(frames, fps):
            yield start - zero, screen.show(frame)


def kept_until(
    path: str | Path, *, audio: AudioFeatures | None = None, vision: VisionFeatures | None = None
) -> Fraction | None:
    """Return the second at which a clip is cut, so that audio and vision cover the same span.

    Parameters
    ----------
    path : str or Path
    audio, vision : AudioFeatures, VisionFeatures, optional
        ``max_length`` of each, in frames, is a limit where the file has such a track.

    Returns
    -------
    end : Fraction or None
        The earlier of the limits that the clip exceeds; None: the clip exceeds none.

    Raises
    ------
    ElisionError
        If the file cannot be read, or does not decode as far as the limits.
    """
    path, zero, end = Path(path), _zero(Path(path)), None
    # Whether a track is whole is for its own reader to say.
    with _open(path) as container:
        if audio and audio.max_length and (track := _stream(container, "audio")):
            most = Fraction(audio.max_length * audio.hop_length, audio.sample_rate)
            beyond: dict[str, Any] = {}
            ends = [stop - zero for _, stop, _ in _until(_timed(container, track), zero, most, beyond)]
            end = most if beyond or max(ends, default=0) > most else None
    with _open(path) as container:
        track = _stream(container, "video")
        if track is None or vision is None or not vision.max_length or 0 < track.frames <= vision.max_length:
            return end
        # The times of frames are known by decoding them: not all containers have one for each packet.
        frames = _until(_timed(container, track), zero, end, {})
        frames = frames if vision.fps is None else _nearest(frames, vision.fps)
        beyond = next(islice(frames, vision.max_length, None), None)
        return end if beyond is None else beyond[0] - zero


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


def _tracks(container: av.container.InputContainer, kind: str) -> list[av.stream.Stream]:
    """Return the audio or video tracks; the cover of an audio file is none."""
    picture = av.stream.Disposition.attached_pic | av.stream.Disposition.still_image
    return [s for s in container.streams if s.type == kind and not (kind == "video" and s.disposition & picture)]


def _stream(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """Return the audio or video track that FFmpeg takes for the best, set to decode in one thread; None without any.

    A track that is marked as the default is better than another one, and a track with more data than one with less.
    """
    tracks = _tracks(container, kind)
    if not tracks:
        return None
    best = container.streams.best(kind)
    stream = best if best in tracks else max(tracks, key=lambda s: bool(s.disposition & av.stream.Disposition.default))
    if stream.codec_context:  # None without a decoder, which decoding then reports
        stream.codec_context.thread_count = 1
    return stream


def _tell_track(container: av.container.InputContainer, stream: av.stream.Stream, facts: dict[str, Any]) -> None:
    tracks = _tracks(container, stream.type)
    if len(tracks) > 1:
        facts["track"] = f"{tracks.index(stream) + 1} of {len(tracks)}"


def _zero(path: Path, firsts: Iterable[_Timed | None] | None = None) -> Fraction:
    """Return the time stamp of second 0: the earliest of all tracks.

    Of the tracks that are read, what is decoded first counts (``firsts``, where it is known): the start that a
    container tells may be that of padding.
    """
    with _open(path) as container:
        chosen = [_stream(container, kind) for kind in _KINDS]
        others = [stream for kind in _KINDS for stream in _tracks(container, kind) if stream not in chosen]
        starts = [stream.start_time * stream.time_base for stream in others if stream.start_time is not None]
    firsts = [_first(path, kind) for kind in _KINDS] if firsts is None else firsts
    return min([*starts, *(first[0] for first in firsts if first)], default=Fraction(0))


def _first(path: Path, kind: str) -> _Timed | None:
    """Return None when there is no such track, or nothing is in it; one that does not decode is an ElisionError."""
    with _open(path) as container:
        stream = _stream(container, kind)
        return next(_timed(container, stream), None) if stream else None


def _decode(path: Path, container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[_Timed]:
    """Yield the frames of a track; an ElisionError follows if there is none, or the last part of them is missing."""
    end = None
    for timed in _timed(container, stream):
        end = timed[1]
        yield timed
    if end is None:
        raise ElisionError(f"{path}: its {stream.type} track gives nothing; {_REMEDY}")
    # FFmpeg takes the sudden end of a file, and damage in a Matroska file, for the end of the track.
    declared = _declared_end(container, stream)
    if declared - end > max(0.5, 0.1 * declared):
        raise ElisionError(
            f"{path}: its {stream.type} track ends after {float(end):.2f} s of {declared:.2f} s: "
            f"the file is cut off or damaged; {_REMEDY}"
        )


def _until(frames: Iterable[_Timed], zero: Fraction, end: Fraction | None, facts: dict[str, Any]) -> Iterator[_Timed]:
    """Yield the frames that start before ``end``, a second of the file."""
    for start, frame_end, frame in frames:
        if end is not None and start - zero >= end:
            facts["cut"] = float(end)
            return
        yield start, frame_end, frame


def _runs(frames: Iterable[_Timed]) -> Iterator[tuple[Fraction, Iterator[av.AudioFrame]]]:
    """Yield runs of audio frames without a pause, each with its start; a run is to be used up before the next."""
    waiting = iter(frames)
    following = next(waiting, None)

    def run() -> Iterator[av.AudioFrame]:
        nonlocal following
        due = following[0]
        while following and abs(following[0] - due) <= _JITTER:
            frame = following[2]
            due += Fraction(frame.samples, frame.sample_rate)
            yield frame
            following = next(waiting, None)

    while following:
        yield following[0], run()


def _declared_end(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """Return the second at which a track ends by the file's own tables; 0 where they do not say, or just estimate."""
    if "matroska" in container.format.name:
        hours, minutes, seconds = stream.metadata.get("DURATION", "0:0:0").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.format.name.startswith("mov") and stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return 0.0


def _duration(path: Path, zero: Fraction) -> float:
    """Return seconds from second 0 to the end, as the container or its longest track says, or by decoding."""
    with _open(path) as container:
        if container.duration:  # FFmpeg fills it from the tracks where the container itself does not say
            # Streams that were cut out of a broadcast tell how long they are, others when they end.
            late = 0 if container.format.name in _JOINED else max(0, float(zero))
            return container.duration / av.time_base - late
    ends = []
    for kind in _KINDS:
        with _open(path) as container:
            if stream := _stream(container, kind):
                ends += [end for _, end, _ in _timed(container, stream)]
    return float(max(ends) - zero)


def _timed(container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[_Timed]:
    """Decode a track: yield the start and the end of each frame in seconds, exact, and the frame; starts never fall.

    Where time stamps start anew, time goes on: after a step back, and, in formats that are joined, after a leap.
    """
    joined = container.format.name in _JOINED
    before, end, shift = None, Fraction(0), Fraction(0)
    for stamp, frame in _stamped(container, stream):
        # A raw stream has no time stamps, just durations.
        start = end if stamp is None else stamp * frame.time_base + shift
        if before is not None and (start < before - _STEP_BACK or (joined and start > end + _LEAP)):
            shift += end - start
            start = end
        before = start = start if before is None else max(start, before)
        end = start + (frame.duration or 0) * frame.time_base
        yield start, end, frame


def _stamped(
    container: av.container.InputContainer, stream: av.stream.Stream
) -> Iterator[tuple[int | None, av.frame.Frame]]:
    """Decode a track: yield the time stamp of each frame, and the frame.

    AVI has no times of presentation: frame k is shown at the place of the k-th packet, in whatever order they decode.
    """
    if container.format.name != "avi" or stream.type != "video":
        for frame in container.decode(stream):
            yield frame.pts, frame
        return
    places = deque()
    for packet in container.demux(stream):
        if packet.dts is not None:
            places.append(packet.dts)
        for frame in packet.decode():
            yield places.popleft() if places else None, frame


def _nearest(frames: Iterable[_Timed], fps: float) -> Iterator[_Timed]:
    """Yield the frame nearest to each multiple of 1 / fps, once; of two as near, the earlier."""
    step = 1 / Fraction(fps)
    tick = last = taken = None
    for timed in frames:
        start = timed[0]
        tick = start if tick is None else tick
        while tick <= start:
            best = last if last is not None and tick - last[0] <= start - tick else timed
            if best is not taken:
                yield best
                taken = best
            tick += step
        last = timed
    if last is not taken and tick < last[1]:
        yield last


class _Screen:
    """Shows the frames of a track as a player does: in square pixels, upright, and all in the size of the first."""

    def __init__(self, stream: av.VideoStream) -> None:
        self.aspect = stream.sample_aspect_ratio or Fraction(1)
        self.size: tuple[int, int] | None = None

    def show(self, frame: av.VideoFrame) -> np.ndarray:
        """Return a frame as RGB [shape=(height, width, 3), dtype=uint8]."""
        if self.size is None:  # no pixel is lost: the shorter side of a pixel is stretched
            self.size = (round(frame.width * max(self.aspect, 1)), round(frame.height / min(self.aspect, 1)))
        matrix = _display_matrix(frame)
        if self.size != (frame.width, frame.height):
            frame = frame.reformat(*self.size, "rgb24", interpolation="BICUBIC")
        return np.ascontiguousarray(_turned(frame.to_ndarray(format="rgb24"), matrix))


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Return where the x and the y axis of a frame point to on the screen [2, 2], as integers of 16.16 bits."""
    try:
        found = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside it are data of a kind that PyAV does not know; it tells the rotation all the same
        angle = np.radians(frame.rotation)
        return np.rint(2**16 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))
    return None if found is None else np.frombuffer(bytes(found), np.int32)[[0, 1, 3, 4]].reshape(2, 2)


def _turned(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Turn and mirror an image by its display matrix, to the nearest quarter turn."""
    if matrix is None or not matrix.any():
        return image
    (x_to_x, x_to_y), (y_to_x, y_to_y) = matrix.tolist()
    if abs(x_to_y) > abs(x_to_x):  # columns become rows
        image, down, right = image.transpose(1, 0, 2), x_to_y, y_to_x
    else:
        down, right = y_to_y, x_to_x
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
