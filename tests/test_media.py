import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from elision.errors import ElisionError
from elision.media import Media, probe, read_audio, read_frames

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


def write(
    path, *, frames=(), signal=None, video="libx264", audio="aac", rate=RATE, fps=25, times=None, rotation=0, **kw
):
    """Write a file; ``signal`` is [channels, n], ``times`` the frames' seconds."""
    with av.open(path, "w", **kw) as container:
        if len(frames):
            stream = container.add_stream(video, rate=fps, options={"crf": "4"})
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
    frames = list(read_frames(files[suffix]))
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert [number(frame) for frame in frames] == list(range(50))


def test_two_readings_are_equal_to_the_bit(files):
    for suffix in ("mp4", "webm"):
        first, second = (read_audio(files[suffix], sample_rate=16000) for _ in range(2))
        assert np.array_equal(first, second)
        assert np.array_equal(list(read_frames(files[suffix])), list(read_frames(files[suffix])))


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
    assert list(read_frames(files["wav"])) == []


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
    for frame in read_frames(path):
        assert frame.shape == expected.shape
        centres = (slice(12, None, 24), slice(12, None, 24))
        assert np.abs(frame[centres].astype(int) - expected[centres]).max() < 30


@pytest.mark.parametrize(("fps", "expected"), [(5, range(0, 50, 5)), (12.5, range(0, 50, 2)), (25, range(50))])
def test_fewer_frames_per_second_are_taken_evenly(files, fps, expected):
    assert [number(frame) for frame in read_frames(files["mp4"], fps=fps)] == list(expected)


def test_of_two_frames_as_near_the_earlier_is_taken(files):
    # Multiples of 0.1 s fall on a frame or midway between two.
    assert [number(f) for f in read_frames(files["mp4"], fps=10)] == [5 * (i // 2) + 2 * (i % 2) for i in range(20)]


@pytest.mark.parametrize("fps", [25.5, 60, 1000])
def test_no_frame_comes_twice_when_more_are_asked_than_there_are(files, fps):
    assert [number(frame) for frame in read_frames(files["mp4"], fps=fps)] == list(range(50))


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.26, 1.7]
    path = write(tmp_path / "variable.mkv", frames=numbered(len(times)), times=times)
    # Seconds 0, 0.25 ... 1.5: nearest are 0, 0.08, 0.5, 0.54, 1.0, 1.26 and, for 1.5, 1.7.
    assert [number(frame) for frame in read_frames(path, fps=4)] == [0, 2, 3, 4, 5, 6, 7]


def test_one_frame_per_minute_is_the_first(files):
    assert [number(frame) for frame in read_frames(files["mp4"], fps=1 / 60)] == [0]


def test_frames_are_read_one_by_one(files):
    frames = read_frames(files["mp4"])
    assert number(next(frames)) == 0 and number(next(frames)) == 1
    frames.close()


def test_a_file_without_a_duration_is_measured(tmp_path):
    path = write(tmp_path / "live.mkv", frames=numbered(50), signal=tone(3, RATE)[None], options={"live": "1"})
    with av.open(path) as container:
        assert container.duration is None
    assert probe(path).duration == pytest.approx(3, abs=0.1)


def test_frames_without_time_stamps_are_counted(tmp_path):
    path = write(tmp_path / "raw.h264", frames=numbered(50), format="h264")
    assert probe(path).duration == pytest.approx(2)
    assert [number(frame) for frame in read_frames(path, fps=5)] == list(range(0, 50, 5))


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
    assert list(read_frames(path)) == []


def test_an_image_file_is_an_error(tmp_path):
    path = tmp_path / "face.png"
    av.VideoFrame.from_ndarray(quadrants(), format="rgb24").save(path)
    with pytest.raises(ElisionError, match=r"face\.png: holds no audio or video;"):
        probe(path)


def test_names_may_hold_colons_percent_signs_and_letters_of_any_script(tmp_path, files):
    path = tmp_path / "clip:%03d é 你好$_$1.mp4"
    path.write_bytes(files["mp4"].read_bytes())
    assert probe(path) == probe(files["mp4"])
    assert len(list(read_frames(path))) == 50


def read_all(path):
    probe(path)
    read_audio(path, sample_rate=16000)
    list(read_frames(path))


def test_a_missing_file_is_named(tmp_path):
    for read in (probe, lambda p: read_audio(p, sample_rate=16000), lambda p: list(read_frames(p))):
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
        list(read_frames(cut))


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
