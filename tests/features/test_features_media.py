import os
import socket
import struct
import time
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from elision.errors import ElisionError
from elision.features.media import FORMATS, Media, kept_until, probe, read_audio, read_frames
from elision.settings.params import AudioFeatures, VisionFeatures

RATE = 22050
CODECS = {  # video, audio, audio sample rate
    "mp4": ("libx264", "aac", RATE),
    "mov": ("libx264", "aac", RATE),
    "mkv": ("libx264", "aac", RATE),
    "webm": ("libvpx", "libopus", 48000),
    "wav": (None, "pcm_s16le", RATE),
    "flac": (None, "flac", RATE),
}


def tone(seconds, sample_rate, frequency=220.0):
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * sample_rate)) / sample_rate)


def numbered(count, height=48, width=64):
    """Frames whose number is their brightness: 4 i."""
    return [np.full((height, width, 3), 4 * i, np.uint8) for i in range(count)]


def number(frame):
    return round(float(frame.mean()) / 4)


def pictures(path, **kw):
    return [frame for _, frame in read_frames(path, **kw)]


def write(
    path, *, frames=(), signal=None, video="libx264", audio="aac", rate=RATE, fps=25, times=None, rotation=0, **kw
):
    """Write a file; ``signal`` is [channels, n], ``times`` the frames' seconds."""
    with av.open(path, "w", **kw) as container:
        if len(frames):
            options = {"crf": "4"} if video.startswith("lib") else {"qmin": "1", "qmax": "2"}
            stream = container.add_stream(video, rate=fps, options=options)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            if times:
                stream.codec_context.time_base = Fraction(1, 1000)
            if rotation:
                stream.set_display_rotation(rotation)
        if signal is not None:
            track = container.add_stream(audio, rate=rate, layout="stereo" if len(signal) == 2 else "mono")
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            seconds = times[i] if times else i / fps
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if len(frames):
            container.mux(stream.encode())
        if signal is not None:
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(signal, np.float32), "fltp", track.layout.name)
            sound.sample_rate, sound.pts = rate, 0
            size = track.codec_context.frame_size or 1024
            to_codec = av.AudioResampler(track.format, track.layout, rate, size)
            for part in to_codec.resample(sound) + to_codec.resample(None):
                container.mux(track.encode(part))
            container.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of 2 s per format, with all that the format can hold."""
    folder = tmp_path_factory.mktemp("media")
    paths = {}
    for suffix, (video, audio, rate) in CODECS.items():
        paths[suffix] = write(
            folder / f"clip.{suffix}",
            frames=numbered(50) if video else (),
            signal=tone(2, rate)[None],
            video=video,
            audio=audio,
            rate=rate,
        )
    return paths


@pytest.mark.parametrize("suffix", CODECS)
def test_every_format_tells_its_tracks_and_duration(files, suffix):
    media = probe(files[suffix])
    has_video = CODECS[suffix][0] is not None
    assert (media.audio, media.vision) == (True, has_video)
    assert (media.width, media.height) == ((64, 48) if has_video else (None, None))
    assert media.fps == (pytest.approx(25) if has_video else None)
    assert media.duration == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("suffix", CODECS)
def test_the_tone_that_was_written_is_read(files, suffix):
    y = read_audio(files[suffix], sample_rate=16000)
    assert y.dtype == np.float32 and y.ndim == 1
    assert len(y) == pytest.approx(32000, abs=0.1 * 16000)  # AAC pads
    spectrum = np.abs(np.fft.rfft(y[4000:20000]))
    assert spectrum.argmax() == 220
    assert np.abs(y[4000:20000]).max() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("suffix", [s for s, codecs in CODECS.items() if codecs[0]])
def test_all_frames_come_in_the_order_of_presentation(files, suffix):
    frames = pictures(files[suffix])
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert [number(frame) for frame in frames] == list(range(50))


def test_two_readings_are_equal_to_the_bit(files):
    for suffix in ("mp4", "webm"):
        first, second = (read_audio(files[suffix], sample_rate=16000) for _ in range(2))
        assert np.array_equal(first, second)
        assert np.array_equal(pictures(files[suffix]), pictures(files[suffix]))


def test_lossless_audio_at_its_own_rate_is_returned_as_it_is(files):
    expected = np.round(tone(2, RATE) * 2**15) / 2**15
    for suffix in ("wav", "flac"):
        y = read_audio(files[suffix], sample_rate=RATE)
        assert y.shape == (2 * RATE,)
        assert np.abs(y - expected).max() <= 2**-15


@pytest.mark.parametrize("to", [8000, 16000, 44100])
def test_resampling_keeps_the_whole_signal(files, to):
    # Without a flush the resampler would keep the last samples for itself.
    assert abs(len(read_audio(files["wav"], sample_rate=to)) - 2 * to) <= 1


def test_channels_are_averaged_in_every_sample_format(tmp_path):
    left, right = tone(0.5, RATE), np.zeros(RATE // 2)
    for name, audio in (("a.wav", "pcm_s16le"), ("b.wav", "pcm_f32le")):
        path = write(tmp_path / name, signal=np.stack([left, right]), audio=audio)
        assert np.abs(read_audio(path, sample_rate=RATE) - left / 2).max() < 1e-4


def test_a_video_without_sound_has_no_audio(tmp_path):
    path = write(tmp_path / "silent.mp4", frames=numbered(10))
    assert probe(path) == Media(duration=pytest.approx(0.4), audio=False, vision=True, fps=25, width=64, height=48)
    assert read_audio(path, sample_rate=16000) is None


def test_a_sound_file_has_no_frames(files):
    assert pictures(files["wav"]) == []


def quadrants():
    """Red, green / blue, white."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32, 0], image[:24, 32:, 1], image[24:, :32, 2], image[24:, 32:] = 255, 255, 255, 255
    return image


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_frames_are_turned_as_the_display_matrix_says(tmp_path, rotation):
    path = write(tmp_path / "phone.mp4", frames=[quadrants()] * 3, rotation=rotation)
    expected = np.rot90(quadrants(), rotation // 90)
    media = probe(path)
    assert (media.height, media.width) == expected.shape[:2]
    for frame in pictures(path):
        assert frame.shape == expected.shape
        centres = (slice(12, None, 24), slice(12, None, 24))
        assert np.abs(frame[centres].astype(int) - expected[centres]).max() < 30


@pytest.mark.parametrize(("fps", "expected"), [(5, range(0, 50, 5)), (12.5, range(0, 50, 2)), (25, range(50))])
def test_fewer_frames_per_second_are_taken_evenly(files, fps, expected):
    assert [number(frame) for frame in pictures(files["mp4"], fps=fps)] == list(expected)


def test_of_two_frames_as_near_the_earlier_is_taken(files):
    # Multiples of 0.1 s fall on a frame or midway between two.
    assert [number(f) for f in pictures(files["mp4"], fps=10)] == [5 * (i // 2) + 2 * (i % 2) for i in range(20)]


@pytest.mark.parametrize("fps", [25.5, 60, 1000])
def test_no_frame_comes_twice_when_more_are_asked_than_there_are(files, fps):
    assert [number(frame) for frame in pictures(files["mp4"], fps=fps)] == list(range(50))


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.26, 1.7]
    path = write(tmp_path / "variable.mkv", frames=numbered(len(times)), times=times)
    # Seconds 0, 0.25 ... 1.5: nearest are 0, 0.08, 0.5, 0.54, 1.0, 1.26 and, for 1.5, 1.7.
    assert [number(frame) for frame in pictures(path, fps=4)] == [0, 2, 3, 4, 5, 6, 7]


def test_one_frame_per_minute_is_the_first(files):
    assert [number(frame) for frame in pictures(files["mp4"], fps=1 / 60)] == [0]


def test_frames_are_read_one_by_one(files):
    frames = read_frames(files["mp4"])
    assert number(next(frames)[1]) == 0 and number(next(frames)[1]) == 1
    frames.close()


def test_a_file_without_a_duration_is_measured(tmp_path):
    path = write(tmp_path / "live.mkv", frames=numbered(50), signal=tone(3, RATE)[None], options={"live": "1"})
    with av.open(path) as container:
        assert container.duration is None
    assert probe(path).duration == pytest.approx(3, abs=0.1)


def test_frames_without_time_stamps_are_counted(tmp_path):
    path = write(tmp_path / "raw.h264", frames=numbered(50), format="h264")
    assert probe(path).duration == pytest.approx(2)
    assert [number(frame) for frame in pictures(path, fps=5)] == list(range(0, 50, 5))


def test_a_cover_picture_is_no_video(tmp_path, files):
    path = tmp_path / "song.flac"
    with av.open(path, "w") as container, av.open(files["flac"]) as source:
        track = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(quadrants(), format="rgb24").reformat(format="yuvj420p")
        for packet in [*cover.encode(picture), *cover.encode()]:
            container.mux(packet)
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = track
                container.mux(packet)
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["audio", "video"]
    media = probe(path)
    assert (media.audio, media.vision, media.fps) == (True, False, None)
    assert pictures(path) == []


def test_an_image_file_is_an_error(tmp_path):
    path = tmp_path / "face.png"
    av.VideoFrame.from_ndarray(quadrants(), format="rgb24").save(path)
    with pytest.raises(ElisionError, match=r"face\.png: is an image and holds no audio or video;"):
        probe(path)


def test_names_may_hold_colons_percent_signs_and_letters_of_any_script(tmp_path, files):
    path = tmp_path / "clip:%03d é 你好$_$1.mp4"
    path.write_bytes(files["mp4"].read_bytes())
    assert probe(path) == probe(files["mp4"])
    assert len(pictures(path)) == 50


def read_all(path):
    probe(path)
    read_audio(path, sample_rate=16000)
    pictures(path)


def test_a_missing_file_is_named(tmp_path):
    for read in (probe, lambda p: read_audio(p, sample_rate=16000), lambda p: pictures(p)):
        with pytest.raises(ElisionError, match=r"nowhere\.mp4: no such file"):
            read(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(5000)], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.txt"])
def test_what_is_no_media_file_is_an_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ElisionError, match=rf"{name}: "):
        probe(path)


@pytest.mark.parametrize("codec", [b"A_AAC", b"V_MPEG4/ISO/AVC"])
def test_a_track_that_nothing_decodes_is_an_error_not_an_absent_one(tmp_path, files, codec):
    path = tmp_path / "unknown.mkv"
    path.write_bytes(files["mkv"].read_bytes().replace(codec, codec[:-3] + b"XYZ"))
    with pytest.raises(ElisionError, match=r"unknown\.mkv: cannot be decoded \(Decoder not found\)"):
        probe(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "flac"])
def test_a_file_that_is_cut_off_is_an_error(tmp_path, files, suffix):
    content = files[suffix].read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ElisionError, match=rf"cut\.{suffix}: .*(cannot be decoded|cut off)"):
        read_all(path)


def test_a_file_that_ends_between_two_frames_is_an_error(tmp_path, files):
    with av.open(files["mkv"]) as container:
        packets = [(packet.pts, packet.pos) for packet in container.demux(video=0) if packet.pts is not None]
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(files["mkv"].read_bytes()[: packets[25][1]])
    assert probe(cut) == probe(files["mkv"])
    with pytest.raises(ElisionError, match=r"cut\.mkv: its video track ends after 1\.\d+ s of 2\.00 s"):
        pictures(cut)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_damage_in_the_middle_is_an_error(tmp_path, files, suffix):
    content = bytearray(files[suffix].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ElisionError, match=rf"damaged\.{suffix}: "):
        read_all(path)


def test_an_audio_track_without_a_sample_is_an_error(tmp_path):
    path = tmp_path / "mute.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
    with pytest.raises(ElisionError, match=r"mute\.wav: its audio track gives nothing"):
        read_audio(path, sample_rate=16000)
    with pytest.raises(ElisionError, match=r"mute\.wav: holds no audio or video;"):
        probe(path)


def test_samples_that_are_no_numbers_are_an_error(tmp_path):
    signal = tone(0.5, RATE)[None]
    signal[0, 1000] = np.nan
    path = write(tmp_path / "nan.wav", signal=signal, audio="pcm_f32le")
    with pytest.raises(ElisionError, match=r"nan\.wav: .* no numbers"):
        read_audio(path, sample_rate=RATE)


CONTAINERS = {  # muxer, video, audio, audio sample rate; FFmpeg's name of the format is read from the file
    "3gp": ("3gp", "libx264", "aac", RATE),
    "aac": ("adts", None, "aac", RATE),
    "ac3": ("ac3", None, "ac3", 48000),
    "aiff": ("aiff", None, "pcm_s16be", RATE),
    "amr": ("amr", None, "libopencore_amrnb", 8000),
    "au": ("au", None, "pcm_s16be", RATE),
    "avi": ("avi", "mpeg4", "mp3", RATE),
    "caf": ("caf", None, "pcm_s16be", RATE),
    "eac3": ("eac3", None, "eac3", 48000),
    "flac": ("flac", None, "flac", RATE),
    "flv": ("flv", "flv", "aac", RATE),
    "h264": ("h264", "libx264", None, None),
    "hevc": ("hevc", "libx265", None, None),
    "ivf": ("ivf", "libvpx", None, None),
    "loas": ("latm", None, "aac", RATE),
    "m2v": ("mpeg2video", "mpeg2video", None, None),
    "m4a": ("ipod", None, "aac", RATE),
    "m4v": ("m4v", "mpeg4", None, None),
    "mka": ("matroska", None, "flac", RATE),
    "mkv": ("matroska", "libx264", "aac", RATE),
    "mov": ("mov", "mpeg4", "pcm_s16le", RATE),
    "mp2": ("mp2", None, "mp2", 44100),
    "mp3": ("mp3", None, "mp3", RATE),
    "mp4": ("mp4", "libx264", "aac", RATE),
    "mpg": ("mpeg", "mpeg1video", "mp2", 44100),
    "obu": ("obu", "libsvtav1", None, None),
    "oga": ("oga", None, "flac", RATE),
    "opus": ("opus", None, "libopus", 48000),
    "ts": ("mpegts", "libx264", "aac", RATE),
    "tta": ("tta", None, "tta", RATE),
    "vob": ("vob", "mpeg2video", "ac3", 48000),
    "voc": ("voc", None, "pcm_s16le", RATE),
    "w64": ("w64", None, "pcm_s16le", RATE),
    "wav": ("wav", None, "pcm_s16le", RATE),
    "webm": ("webm", "libvpx", "libopus", 48000),
    "wmv": ("asf", "wmv2", "mp3", RATE),
    "wv": ("wv", None, "wavpack", RATE),
}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_of_the_list_that_can_be_written_here_is_read(tmp_path, suffix):
    muxer, video, audio, rate = CONTAINERS[suffix]
    if missing := {video, audio} - {None} - set(av.codecs_available):
        pytest.skip(f"FFmpeg is built without {missing}")
    path = write(
        tmp_path / f"clip.{suffix}",
        frames=numbered(20) if video else (),
        signal=tone(0.8, rate)[None] if audio else None,
        video=video,
        audio=audio,
        rate=rate,
        format=muxer,
    )
    media = probe(path)
    assert (media.audio, media.vision) == (bool(audio), bool(video))
    if audio:
        facts = {}
        y = read_audio(path, sample_rate=16000, facts=facts)
        assert np.abs(np.fft.rfft(y[2000:10000])).argmax() == 110  # of half a second
        assert facts.get("filled", 0) < 0.1  # some encoders delay a track
    if video:
        times, frames = zip(*read_frames(path), strict=True)
        assert [number(frame) for frame in frames] == list(range(20))
        # FLV and MPEG begin with the delay of the audio encoder, and count in whole milliseconds or in 1 / 90000 s.
        steps = np.diff(np.array(times, float))[suffix == "avi" :]  # FFmpeg's AVI shows the first frame longer
        np.testing.assert_allclose(steps, 0.04, atol=2e-3)
        assert 0 <= times[0] < 0.1


def joined(path, sources, *, options=None, **dispositions):
    """Put tracks of files into one: (file, kind, seconds by which it is late, seconds that are left out, or None)."""
    with av.open(path, "w", options=options or {}) as container:
        files = [av.open(source) for source, *_ in sources]
        inputs = [file.streams.get({kind: 0})[0] for file, (_, kind, *_) in zip(files, sources, strict=True)]
        outputs = [container.add_stream_from_template(stream) for stream in inputs]
        for stream, disposition in dispositions.items():
            outputs[int(stream[1:])].disposition = disposition
        packets = []
        for file, stream, output, (_, _, late, gone) in zip(files, inputs, outputs, sources, strict=True):
            for packet in file.demux(stream):
                seconds = None if packet.dts is None else float(packet.dts * packet.time_base)
                if seconds is None or (gone and gone[0] <= seconds < gone[1]):
                    continue
                shift = round(late / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = output
                packets.append((seconds + late, packet))
        for _, packet in sorted(packets, key=lambda each: each[0]):
            container.mux(packet)
        for file in files:
            file.close()
    return path


def clap(at, seconds=2.0, rate=RATE):
    """A second of noise that begins at a time, in silence."""
    signal = np.zeros(int(seconds * rate))
    noise = 0.5 * np.random.default_rng(0).standard_normal(rate // 2)
    signal[int(at * rate) : int(at * rate) + len(noise)] = noise[: len(signal) - int(at * rate)]
    return signal


def begins(y, rate=RATE):
    return np.flatnonzero(np.abs(y) > 0.1)[0] / rate


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """A video without B-frames, and sound that begins at 0.5 s, as separate files."""
    folder = tmp_path_factory.mktemp("tracks")
    picture = write(folder / "picture.mkv", frames=numbered(50), video="mpeg4")
    sound = write(folder / "sound.mkv", signal=clap(0.5)[None], audio="pcm_s16le")
    return picture, sound


LATE = {"mkv": ("mpeg4", "pcm_s16le"), "mov": ("mpeg4", "pcm_s16le"), "mp4": ("mpeg4", "alac")}
LATE |= {"ts": ("mpeg2video", "mp2"), "webm": ("libvpx", "libopus")}


@pytest.mark.parametrize("suffix", LATE)
@pytest.mark.parametrize("late", [0.05, 0.7])
def test_a_track_that_starts_late_stays_late(tmp_path, suffix, late):
    video, audio = LATE[suffix]
    rate = {"ts": 44100, "webm": 48000}.get(suffix, RATE)
    picture = write(tmp_path / "p.mkv", frames=numbered(50), video=video)
    sound = write(tmp_path / "s.mkv", signal=clap(0.5, rate=rate)[None], audio=audio, rate=rate)
    path = joined(tmp_path / f"sound.{suffix}", [(picture, "video", 0, None), (sound, "audio", late, None)])
    facts = {}
    assert begins(read_audio(path, sample_rate=RATE, facts=facts)) == pytest.approx(0.5 + late, abs=0.03)
    assert facts == {"filled": pytest.approx(late, abs=0.03)}
    assert [float(time) for time, _ in read_frames(path)] == pytest.approx(np.arange(50) / 25, abs=2e-3)
    path = joined(tmp_path / f"picture.{suffix}", [(picture, "video", late, None), (sound, "audio", 0, None)])
    facts = {}
    assert begins(read_audio(path, sample_rate=RATE, facts=facts)) == pytest.approx(0.5, abs=0.03)
    assert facts == {}
    assert [float(time) for time, _ in read_frames(path)] == pytest.approx(late + np.arange(50) / 25, abs=0.03)


def test_a_file_in_which_all_tracks_start_late_starts_at_zero(tmp_path, tracks):
    picture, sound = tracks
    path = joined(tmp_path / "late.mkv", [(picture, "video", 5, None), (sound, "audio", 5.2, None)])
    assert begins(read_audio(path, sample_rate=RATE)) == pytest.approx(0.7, abs=2e-3)
    assert [float(time) for time, _ in read_frames(path)] == pytest.approx(np.arange(50) / 25, abs=2e-3)
    assert probe(path).duration == pytest.approx(2.2, abs=0.05)


def test_pauses_between_packets_are_silence_of_their_length(tmp_path, tracks):
    picture, _ = tracks
    sound = write(tmp_path / "s.mkv", signal=tone(3, RATE)[None], audio="pcm_s16le")
    path = joined(tmp_path / "gap.mkv", [(picture, "video", 0, None), (sound, "audio", 0, (0.5, 1.5))])
    facts = {}
    y = read_audio(path, sample_rate=16000, facts=facts)
    assert len(y) == pytest.approx(3 * 16000, abs=50)
    assert facts["filled"] == pytest.approx(1, abs=0.05)
    assert not y[int(0.6 * 16000) : int(1.4 * 16000)].any()
    assert np.abs(y[1000:7000] - tone(3, 16000)[1000:7000]).max() < 0.02
    assert np.abs(y[26000:47000]).max() == pytest.approx(0.3, abs=0.01)


def test_packets_that_overlap_do_not_lengthen_the_sound(tmp_path):
    source = write(tmp_path / "a.mkv", signal=tone(1, RATE)[None], audio="pcm_s16le")
    path = tmp_path / "squeezed.mkv"
    with av.open(path, "w") as container, av.open(source) as one:
        track = container.add_stream_from_template(one.streams.audio[0])
        for packet in one.demux(audio=0):
            if packet.dts is not None:
                packet.pts = packet.dts = round(0.6 * packet.dts)
                packet.stream = track
                container.mux(packet)
    assert len(read_audio(path, sample_rate=RATE)) == pytest.approx(0.6 * RATE, abs=2 * 1024)


def test_each_frame_of_a_variable_rate_has_its_own_time(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.26, 1.7]
    path = write(tmp_path / "variable.mkv", frames=numbered(len(times)), times=times)
    assert [float(time) for time, _ in read_frames(path)] == times
    assert [float(time) for time, _ in read_frames(path, fps=4)] == [0, 0.08, 0.5, 0.54, 1.0, 1.26, 1.7]


def test_recordings_that_were_joined_follow_each_other(tmp_path):
    one = write(tmp_path / "a.ts", frames=numbered(25), signal=tone(1, 44100)[None], audio="mp2", rate=44100)
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * one.read_bytes())
    times = [float(time) for time, _ in read_frames(path)]
    assert len(times) == 50 and (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(2, abs=0.2)
    assert len(read_audio(path, sample_rate=RATE)) == pytest.approx(2 * RATE, abs=0.1 * RATE)


def test_avi_shows_frames_in_the_order_of_presentation(tmp_path):
    path = write(tmp_path / "b_frames.avi", frames=numbered(50), video="libx264")
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    times, frames = zip(*read_frames(path), strict=True)
    assert [number(frame) for frame in frames] == list(range(50))
    assert [float(time) for time in times] == pytest.approx(np.arange(50) / 25)


DEFAULT, NOT_DEFAULT = av.stream.Disposition.default, av.stream.Disposition(0)


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("best", [0, 1, 2])
def test_of_several_tracks_the_default_one_is_read(tmp_path, tracks, kind, best):
    sources, picture, sound = [], *tracks
    for k in range(3):
        if kind == "audio":
            one = write(tmp_path / f"{k}.mkv", signal=tone(2, RATE, 200.0 * (k + 1))[None], audio="pcm_s16le")
        else:
            one = write(tmp_path / f"{k}.mkv", frames=[np.full((48, 64, 3), 80 * k, np.uint8)] * 50, video="mpeg4")
        sources.append((one, kind, 0, None))
    rest = (picture, "video", 0, None) if kind == "audio" else (sound, "audio", 0, None)
    marks = {f"s{k}": DEFAULT if k == best else NOT_DEFAULT for k in range(3)}
    path = joined(tmp_path / "several.mkv", [*sources, rest], **marks)
    facts = {}
    if kind == "audio":
        y = read_audio(path, sample_rate=RATE, facts=facts)
        assert np.abs(np.fft.rfft(y[: 2 * RATE])).argmax() == 400 * (best + 1)
    else:
        frames = [frame for _, frame in read_frames(path, facts=facts)]
        assert frames[10].mean() == pytest.approx(80 * best, abs=3)
    assert facts == {"track": f"{best + 1} of 3"}


WIDE, TALL = Fraction(16, 9), Fraction(1, 2)
SHAPES = [  # the shape of a pixel is held by the container, by the stream, or by both
    *(("mp4", "libx264", WIDE), ("mp4", "libx264", TALL), ("mov", "mpeg4", WIDE), ("mov", "mjpeg", TALL)),
    *(("mkv", "libx264", WIDE), ("mkv", "mpeg4", TALL), ("avi", "mpeg4", WIDE), ("avi", "libx264", TALL)),
    *(("ts", "libx264", WIDE), ("mpg", "mpeg2video", WIDE), ("3gp", "libx264", WIDE), ("h264", "libx264", TALL)),
]


@pytest.mark.parametrize(("suffix", "codec", "aspect"), SHAPES)
def test_pixels_that_are_not_square_are_stretched(tmp_path, suffix, codec, aspect):
    disc = np.hypot(*(np.mgrid[:360, :360] - 180)) < 150
    square = np.repeat(np.uint8(disc)[..., None] * 255, 3, axis=2)
    height, width = (360, 640) if aspect > 1 else (720, 360)
    with av.open(tmp_path / f"wide.{suffix}", "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 360, 360, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = aspect
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(square, format="rgb24")))
        container.mux(stream.encode())
    media = probe(tmp_path / f"wide.{suffix}")
    assert (media.height, media.width) == (height, width)
    for frame in pictures(tmp_path / f"wide.{suffix}"):
        assert frame.shape == (height, width, 3)
        white = frame.mean(axis=2) > 128
        across, down = np.ptp(np.flatnonzero(white.any(0))), np.ptp(np.flatnonzero(white.any(1)))
        assert across / down == pytest.approx(float(aspect), rel=0.02)


@pytest.mark.parametrize(
    ("suffix", "mirrored"), [("mp4", None), ("mov", None), ("mkv", None), ("mp4", "hflip"), ("mov", "vflip")]
)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_are_turned_and_mirrored_in_every_container(tmp_path, suffix, degrees, mirrored):
    path = tmp_path / f"phone.{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qmin": "1", "qmax": "2"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_rotation(degrees, **({mirrored: True} if mirrored else {}))
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(quadrants(), format="rgb24")))
        container.mux(stream.encode())
    expected = np.rot90(quadrants(), degrees // 90)
    expected = {None: expected, "hflip": expected[:, ::-1], "vflip": expected[::-1]}[mirrored]
    found = pictures(path)[1]
    assert found.shape == expected.shape
    centres = (slice(12, None, 24), slice(12, None, 24))
    assert np.abs(found[centres].astype(int) - expected[centres]).max() < 30


def test_frames_that_change_in_size_are_shown_in_the_first_size(tmp_path):
    path = tmp_path / "changes.h264"
    parts = [write(tmp_path / f"{k}.h264", frames=[quadrants()[:, : 64 - 16 * k]] * 3, format="h264") for k in (0, 1)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert [frame.shape for frame in pictures(path)] == [(48, 64, 3)] * 6


# The span that is kept


@pytest.mark.parametrize(
    ("audio", "vision", "fps", "end"),
    [
        (80, None, None, Fraction(80 * 512, RATE)),
        (100, None, None, None),
        (None, 40, None, Fraction(40, 25)),
        (20, 40, None, Fraction(20 * 512, RATE)),
        (80, 40, None, Fraction(40, 25)),
        (None, 15, 10, Fraction(38, 25)),  # tick 15 at 1.5 s lies between frames 37 and 38
        (None, 50, None, None),
        (None, 5, 2, None),
        (None, None, None, None),
    ],
)
def test_audio_and_vision_are_cut_at_the_earlier_of_both_limits(files, audio, vision, fps, end):
    settings = {"audio": AudioFeatures(max_length=audio), "vision": VisionFeatures(max_length=vision, fps=fps)}
    found = kept_until(files["mkv"], **settings)
    if fps == 10:
        assert found in (Fraction(37, 25), Fraction(38, 25))
    else:
        assert found == end
    facts = {}
    frames = list(read_frames(files["mkv"], fps=fps, end=found, facts=facts))
    assert len(frames) == (vision if vision and found and not audio else len(frames))
    assert facts == ({"cut": float(found)} if found else {})
    assert all(time < (found or 3) for time, _ in frames)


def test_a_limit_counts_only_where_there_is_such_a_track(files, tmp_path):
    settings = {"audio": AudioFeatures(max_length=10), "vision": VisionFeatures(max_length=3)}
    silent = write(tmp_path / "silent.mp4", frames=numbered(10))
    assert kept_until(silent, **settings) == Fraction(3, 25)
    assert kept_until(files["wav"], **settings) == Fraction(10 * 512, RATE)


def test_frames_of_a_variable_rate_are_counted_not_reckoned(tmp_path):
    times = [0.01 * k for k in range(20)] + [1.0, 2.0, 3.0]
    path = write(tmp_path / "variable.mkv", frames=numbered(len(times)), times=times)
    assert kept_until(path, vision=VisionFeatures(max_length=10)) == Fraction(1, 10)
    assert kept_until(path, vision=VisionFeatures(max_length=21)) == 2


def test_sphere_files_of_speech_corpora_are_read(tmp_path):
    head = "NIST_1A\n   1024\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s3 pcm\n"
    head += "sample_count -i 8000\nsample_byte_format -s2 01\nend_head\n"
    samples = (tone(0.5, 16000) * 2**15).astype("<i2")
    path = tmp_path / "sa1.wav"
    path.write_bytes(head.encode().ljust(1024) + samples.tobytes())
    assert np.array_equal(read_audio(path, sample_rate=16000), samples / np.float32(2**15))


def test_every_format_of_the_list_is_one_that_ffmpeg_knows_and_none_reads_other_files():
    known = {name for each in av.formats_available for name in (each, *av.ContainerFormat(each).name.split(","))}
    assert set(FORMATS) <= known
    dangerous = (
        "hls applehttp concat dash sdp rtp rtsp sap ffmetadata image2 image2pipe tty lavfi imf webm_dash_manifest"
    )
    assert not set(FORMATS) & set(dangerous.split())
    assert not any(name.endswith("_pipe") for name in FORMATS)


HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
MPD = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" minimumUpdatePeriod="PT1S" profiles="a">
<Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>voice.ts</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""
PLAYLISTS = {
    "of_files.m3u8": (HEAD + "voice.ts\n#EXT-X-ENDLIST\n", "an HLS playlist"),
    "live.m3u8": (HEAD + "voice.ts\n", "an HLS playlist"),
    "of_pipe.m3u8": (HEAD + "pipe.ts\n", "an HLS playlist"),
    "remote.m3u8": (HEAD + "http://192.0.2.1/voice.ts\n#EXT-X-ENDLIST\n", "an HLS playlist"),
    "marked.m3u8": ("\ufeff" + HEAD + "voice.ts\n#EXT-X-ENDLIST\n", "an HLS playlist"),
    "list.ffconcat": ("ffconcat version 1.0\nfile voice.ts\n", "an FFmpeg list of files"),
    "manifest.mpd": (MPD, "a DASH manifest"),
    "talk.sdp": ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n", "SDP"),
    "cpl.xml": ('<?xml version="1.0"?>\n<CompositionPlaylist xmlns="x"></CompositionPlaylist>', "an IMF playlist"),
    "old.asx": ('<ASX version="3.0"><Entry><Ref href="voice.ts"/></Entry></ASX>', "a playlist"),
    "old.pls": ("[playlist]\nFile1=voice.ts\n", "a playlist"),
    "meta.txt": (";FFMETADATA1\ntitle=voice.ts\n", "FFmpeg metadata"),
    "words.srt": ("1\n00:00:00,000 --> 00:00:01,000\nwell\n", "subtitles"),
}


@pytest.fixture
def beside(tmp_path):
    """A folder with a sound and a pipe that playlists name."""
    write(tmp_path / "voice.ts", signal=tone(1, RATE)[None], format="mpegts")
    os.mkfifo(tmp_path / "pipe.ts")
    return tmp_path


@pytest.mark.parametrize("disguised", [None, "clip.mp4", "clip.wav", "clip"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_what_names_other_files_is_refused_at_once_whatever_its_name(beside, name, disguised):
    content, kind = PLAYLISTS[name]
    path = beside / (disguised or name)
    path.write_text(content, encoding="utf-8")
    started = time.monotonic()
    for read in (probe, lambda p: read_audio(p, sample_rate=16000), lambda p: pictures(p)):
        with pytest.raises(ElisionError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: is ") and kind in message
        assert "mp4, mov" in message and f"ffmpeg -i {path} -c copy {path.stem}.mkv" in message
    assert time.monotonic() - started < 20  # not for ever, on a busy machine too


@pytest.mark.parametrize("name", ["of_files.m3u8", "list.ffconcat"])
def test_ffmpeg_alone_would_follow_these_playlists(beside, name):
    (beside / name).write_text(PLAYLISTS[name][0])
    with av.open(f"file:{beside / name}") as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= RATE


def test_pictures_that_are_numbered_are_no_video(tmp_path):
    for i in range(1, 4):
        av.VideoFrame.from_ndarray(quadrants(), format="rgb24").save(tmp_path / f"{i:03}.png")
    with av.open(f"file:{tmp_path / '%03d.png'}") as container:  # FFmpeg alone makes a video of them
        assert sum(1 for _ in container.decode(video=0)) == 3
    with pytest.raises(ElisionError, match="no such file"):
        probe(tmp_path / "%03d.png")
    (tmp_path / "%03d.png").write_bytes((tmp_path / "001.png").read_bytes())
    with pytest.raises(ElisionError, match="is an image"):
        probe(tmp_path / "%03d.png")


def test_a_container_that_is_not_on_the_list_is_refused(tmp_path):
    path = write(tmp_path / "clip.mp4", frames=numbered(5), video="mpeg4", format="nut")
    with pytest.raises(ElisionError, match=r"clip\.mp4: is of another format; .* -c copy clip\.mkv"):
        probe(path)
    path = write(tmp_path / "clip.mxf", frames=numbered(5), video="mpeg2video", format="mxf")
    with pytest.raises(ElisionError, match=r"clip\.mxf: is an MXF file; .* -c copy clip\.mkv"):
        probe(path)


def with_external_data(content, name):
    """A QuickTime file whose tracks lie in another file: an alias record in place of ``dref``'s entry."""

    def box(kind, body):
        return struct.pack(">I4s", 8 + len(body), kind) + body

    def text(value, size):
        return bytes([len(value)]) + value.ljust(size - 1, b"\0")

    file, folder = name.name.encode(), name.parent.name.encode()
    alias = struct.pack(">4sHHH", b"\0" * 4, 0, 2, 0) + text(b"disk", 28) + bytes(12) + text(file, 64) + bytes(16)
    alias += struct.pack(">hh", 1, 1) + bytes(16)  # one level up to the folder, and down again
    for kind, value in ((2, b"disk:" + folder + b":" + file), (0, folder), (-1, b"")):
        alias += struct.pack(">hH", kind, len(value)) + value + b"\0" * (len(value) % 2)
    dref = box(b"dref", struct.pack(">II", 0, 1) + box(b"alis", struct.pack(">I", 0) + alias))

    def rewritten(boxes):
        made, at = b"", 0
        while at < len(boxes):
            size, kind = struct.unpack(">I4s", boxes[at : at + 8])
            body = boxes[at + 8 : at + size]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                body = rewritten(body)
            made += dref if kind == b"dref" else box(kind, body)
            at += size
        return made

    return rewritten(content)


def test_data_that_a_quicktime_file_has_in_another_file_are_not_read(tmp_path):
    whole = write(tmp_path / "whole.mov", signal=tone(1, RATE)[None], audio="pcm_s16le", format="mov")
    content = whole.read_bytes()
    start = content.index(b"mdat") + 4
    silent = content[:start] + bytes(2 * RATE) + content[start + 2 * RATE :]
    path = tmp_path / "clip.mov"
    path.write_bytes(with_external_data(silent, whole))
    with av.open(f"file:{path}", options={"enable_drefs": "1"}) as container:
        followed = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.abs(followed).max() > 9000
    with pytest.raises(ElisionError, match=r"clip\.mov: its audio track gives nothing"):
        read_audio(path, sample_rate=RATE)


def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "lost.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "round.mp4").symlink_to(tmp_path / "round.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        server.bind("socket.mp4")
    expected = {
        **dict.fromkeys(["pipe.mp4", "link.mp4", "zero.mp4", "socket.mp4"], "is a pipe, a socket or a device"),
        **dict.fromkeys(["lost.mp4", "round.mp4", "\0.mp4", "x" * 300, "http://192.0.2.1/a.mp4"], "no such file"),
        "folder.mp4": "is a folder",
        "empty.mp4": "is empty",
    }
    started = time.monotonic()
    for name, what in expected.items():
        with pytest.raises(ElisionError, match=what):
            read_all(tmp_path / name)
    assert time.monotonic() - started < 20  # not for ever, on a busy machine too
