"""Kinds that corrupt pictures, on pictures that are drawn."""

from fractions import Fraction
from itertools import islice, pairwise
from math import isnan

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from elision.corruption.media import damaged_video
from elision.corruption.media.damaged_video import DamagedVideo
from elision.corruption.media.occlusion import occluder, within
from elision.corruption.medium import SEVERITIES, Clip, PictureKind, catalogue
from elision.corruption.pictures import LIGHT, Bursts, Error, linear, srgb
from elision.features.media import read_frames

KINDS = {
    name: catalogue()[name]
    for name in (
        *("black", "blur", "damaged_video", "dropped_frames", "frozen_frames", "h264"),
        *("low_frame_rate", "low_resolution", "occlusion", "sensor_noise", "underexposure"),
    )
}
ALL_FRAMES = [name for name in KINDS if name not in ("damaged_video", "dropped_frames", "low_frame_rate")]
RISING = ["blur", "low_resolution", "sensor_noise", "underexposure", "h264", "damaged_video"]
BOX = (0.3, 0.2, 0.7, 0.8)


def clip(name="clip", seed=1111, face=lambda second: BOX):
    return Clip(name, seed, face=face)


def film(count=24, height=48, width=64, fps=12, seed=0):
    """A disc that moves over a ground of waves and grain."""
    rows, columns = np.mgrid[:height, :width]
    grain = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    ground = 90 + 60 * np.sin(columns / 5)[..., None] * np.cos(rows / 7)[..., None] + grain
    frames = []
    for number in range(count):
        disc = (columns - width * (0.2 + 0.02 * number) % width) ** 2 + (rows - height / 2) ** 2 < (height / 4) ** 2
        frames.append((Fraction(number, fps), np.where(disc[..., None], (230, 180, 40), ground).astype(np.uint8)))
    return frames


def corrupted(name, frames, severity, of=None):
    measured = {}
    shown = list(KINDS[name]().corrupt(iter(frames), severity, of or clip(), measured))
    return shown, measured


def same(one, other):
    return len(one) == len(other) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_it_is(name):
    kind = KINDS[name]
    assert issubclass(kind, PictureKind)
    assert kind.medium == "picture" and len(kind.levels) == len(SEVERITIES)
    assert all(a < b for a, b in pairwise(kind.levels)) or all(a > b for a, b in pairwise(kind.levels))
    for text in (kind.caption, kind.level, kind.about, *kind.measured.values()):
        assert text


@pytest.mark.parametrize("name", KINDS)
def test_the_same_clip_gives_the_same_bytes_and_its_pictures_are_not_written_to(name):
    frames, kept = film(), film()
    first, second = (corrupted(name, frames, 3) for _ in range(2))
    assert same(first[0], second[0]) and first[1] == second[1]
    assert same(frames, kept)


@pytest.mark.parametrize("name", ["dropped_frames", "frozen_frames", "black", "sensor_noise", "occlusion"])
def test_what_is_drawn_belongs_to_the_clip_and_the_seed(name):
    frames = film()
    usual, *others = (corrupted(name, frames, 2, of)[0] for of in (clip(), clip("another"), clip(seed=2222)))
    assert not any(same(usual, other) for other in others)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (3, 2), (2, 33), (17, 5)])
@pytest.mark.parametrize("name", KINDS)
def test_pictures_keep_their_size_and_times(name, size):
    frames = film(5, *size)
    for severity in (1, 5):
        shown, measured = corrupted(name, frames, severity)
        assert set(measured) == set(KINDS[name].measured)
        times = [second for second, _ in shown]
        if name in ALL_FRAMES:
            assert times == [second for second, _ in frames]
        else:
            assert times == sorted(set(times)) and set(times) <= {second for second, _ in frames}
        assert all(frame.shape == (*size, 3) and frame.dtype == np.uint8 for _, frame in shown)
        assert all(frame.flags.c_contiguous for _, frame in shown)


@pytest.mark.parametrize("name", KINDS)
def test_no_frame_and_one_frame(name):
    for severity in SEVERITIES:
        shown, measured = corrupted(name, [], severity)
        assert shown == [] and set(measured) == set(KINDS[name].measured)
        shown, measured = corrupted(name, film(1), severity)
        assert len(shown) == 1 or name in ("damaged_video", "dropped_frames")
        assert set(measured) == set(KINDS[name].measured)


@pytest.mark.parametrize("name", ALL_FRAMES)
def test_times_of_a_variable_frame_rate_are_kept(name):
    times = np.cumsum(np.random.default_rng(3).integers(0, 200, 24))  # milliseconds; some frames come at once
    frames = [(Fraction(int(time), 1000), frame) for time, (_, frame) in zip(times, film(), strict=True)]
    shown, _ = corrupted(name, frames, 4)
    assert [second for second, _ in shown] == [second for second, _ in frames]


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_not_all_read_before_the_first_is_shown(name):
    read = 0

    def endless():
        nonlocal read
        (_, picture), *_ = film(1)
        while True:
            read += 1
            yield Fraction(read - 1, 12), picture

    shown = KINDS[name]().corrupt(endless(), 5, clip(), {})
    for _ in range(3):
        next(shown)
    assert read <= 60  # frames: within a burst of two seconds, or what an encoder holds


@pytest.mark.parametrize("name", RISING)
def test_pictures_are_further_from_the_clean_ones_at_each_severity(name):
    ratios = [corrupted(name, film(40, 96, 128), severity)[1]["psnr"] for severity in SEVERITIES]
    if name == "damaged_video":  # damage may hit what is damaged already
        assert ratios[0] >= ratios[2] >= ratios[4] and ratios[0] > ratios[4]
    else:
        assert all(mild > strong for mild, strong in pairwise(ratios)), ratios


@pytest.mark.parametrize("name", [name for name in KINDS if "psnr" in KINDS[name].measured and name != "damaged_video"])
def test_the_measured_ratio_is_that_of_the_pictures(name):
    frames = film()
    shown, measured = corrupted(name, frames, 4)
    squares = [np.mean((a.astype(float) - b) ** 2) for (_, a), (_, b) in zip(frames, shown, strict=True)]
    assert measured["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(squares)))


def test_the_ratio_of_equal_pictures_is_100_and_of_none_is_not_a_number():
    error = Error()
    assert isnan(error.psnr())
    error.add(film(1)[0][1], film(1)[0][1])
    assert error.psnr() == 100


# Occlusion


@st.composite
def boxes(draw):
    """Boxes of faces, which may reach beyond the picture, and its size."""
    height, width = draw(st.integers(40, 300)), draw(st.integers(40, 300))
    side = draw(st.floats(0.1, 0.9))
    left, top = draw(st.floats(-side / 2, 1 - side / 2)), draw(st.floats(-side / 2, 1 - side / 2))
    return (left, top, left + side, top + side), height, width


def inner(box, height, width):
    """Pixels whose middle lies within a box."""
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    across = (columns >= box[0] * width) & (columns < box[2] * width)
    down = (rows >= box[1] * height) & (rows < box[3] * height)
    return down[:, None] & across


@given(boxes(), st.text(max_size=5))
@runs(max_examples=40)
def test_the_hidden_share_of_the_box_is_that_of_the_severity(case, name):
    box, height, width = case
    frames = [(Fraction(0), np.zeros((height, width, 3), np.uint8))]
    before = np.zeros((height, width), bool)
    for severity in SEVERITIES:
        ((_, shown),), measured = corrupted("occlusion", frames, severity, clip(name, face=lambda second: box))
        hidden = shown.any(axis=2)
        inside = inner(box, height, width)
        target = KINDS["occlusion"].levels[severity - 1] / 100
        assert abs(hidden[inside].mean() - target) <= max(0.02, 0.5 / inside.sum())  # a box may have few pixels
        assert measured["hidden"] == pytest.approx(hidden[inside].mean())
        assert not hidden[~inside].any()
        assert not (before & ~hidden).any()  # the larger holds the smaller
        before = hidden


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_occluder_is_a_rectangle_but_for_its_edge(height, width, hidden, place):
    mask = occluder((0, 0, width, height), hidden, place)
    assert mask.shape == (height, width) and mask.sum() == round(hidden * height * width)
    if mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        full = mask[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
        assert full.all()


def test_a_box_beyond_the_picture_has_no_pixels():
    assert within((1.1, 0.2, 1.4, 0.5), 100, 100) is None
    assert within((-0.2, -0.2, 0.1, 0.2), 100, 50) == (0, 0, 5, 20)


def test_a_frame_without_a_face_has_the_box_before_it_and_the_first_ones_none():
    seen = {Fraction(4, 12): BOX, Fraction(9, 12): (0.1, 0.1, 0.4, 0.4)}
    frames = film(12)
    shown, measured = corrupted("occlusion", frames, 3, clip(face=seen.get))
    assert measured["bare"] == pytest.approx(4 / 12) and measured["held"] == pytest.approx(6 / 12)
    assert same(shown[:4], frames[:4])
    changed = [(a[1] != b[1]).any(axis=2) for a, b in zip(frames, shown, strict=True)]
    for number, change in enumerate(changed):
        assert not change[~inner(BOX if number < 9 else seen[Fraction(9, 12)], 48, 64)].any()
    assert all(change.any() for change in changed[4:])


def test_without_any_face_nothing_is_hidden_and_it_is_said():
    frames = film()
    shown, measured = corrupted("occlusion", frames, 5, clip(face=lambda second: None))
    assert same(shown, frames)
    assert measured == {"hidden": 0, "held": 0, "bare": 1}


# Light and optics


def test_linear_light_and_srgb_are_inverse_and_have_known_values():
    values = np.arange(256) / 255
    np.testing.assert_allclose(srgb(linear(values)), values, atol=1e-6)
    assert linear(np.array([0.5])) == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_exposure_halves_linear_light_with_each_stop(severity):
    frames = film()
    shown, measured = corrupted("underexposure", frames, severity)
    light = [np.mean([LIGHT[frame].mean() for _, frame in some]) for some in (frames, shown)]
    assert measured["stops"] == pytest.approx(np.log2(light[1] / light[0]))
    assert measured["stops"] == pytest.approx(KINDS["underexposure"].levels[severity - 1], abs=0.05)


def test_a_black_clip_stays_black_and_has_no_exposure():
    frames = [(Fraction(0), np.zeros((8, 8, 3), np.uint8))]
    shown, measured = corrupted("underexposure", frames, 5)
    assert same(shown, frames) and isnan(measured["stops"])


@pytest.mark.parametrize("severity", [3, 4, 5])
def test_blur_is_as_wide_as_it_says(severity):
    edge = np.repeat(np.where(np.arange(400) < 200, 0, 250)[None, :, None], 300, axis=0).repeat(3, axis=2)
    ((_, shown),), measured = corrupted("blur", [(Fraction(0), edge.astype(np.uint8))], severity)
    spread = np.diff(shown[150, :, 0].astype(float)) / 250  # the derivative of a blurred edge is the Gaussian
    at = np.arange(399) - 199
    assert spread.sum() == pytest.approx(1)
    assert np.sqrt((spread * at**2).sum()) == pytest.approx(measured["sigma"], rel=0.05)
    assert measured["sigma"] == KINDS["blur"].levels[severity - 1] / 100 * 300


def test_a_flat_picture_is_not_changed_by_blur_and_low_resolution():
    frames = [(Fraction(0), np.full((47, 63, 3), 117, np.uint8))]
    for name in ("blur", "low_resolution"):
        for severity in SEVERITIES:
            assert same(corrupted(name, frames, severity)[0], frames)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("value", [60, 128, 170])
def test_noise_has_the_variance_of_shot_and_read_noise(severity, value):
    frames = [(Fraction(0), np.full((100, 100, 3), value, np.uint8))]
    ((_, shown),), _ = corrupted("sensor_noise", frames, severity)
    white = KINDS["sensor_noise"].levels[severity - 1]
    deviation = np.sqrt(LIGHT[value] / white + (2 / white) ** 2)
    light = LIGHT[shown]
    # Quantiles, which clipping at black and white leaves alone where they lie between.
    low, middle, high = (LIGHT[value] + z * deviation for z in (-1, 0, 1))
    for bound, expected in ((low, 0.1587), (middle, 0.5), (high, 0.8413)):
        if 0.02 < bound < 0.98:
            step = np.diff(LIGHT)[np.searchsorted(LIGHT, bound) - 1] / deviation * 0.4
            assert (light < bound).mean() == pytest.approx(expected, abs=0.01 + step / 2 + 0.05 * (step > 0.05))


def test_noise_is_the_same_field_scaled_and_another_one_in_each_frame():
    grey = np.full((40, 40, 3), 128, np.uint8)
    frames = [(Fraction(0), grey), (Fraction(1, 25), grey)]
    mild, strong = (corrupted("sensor_noise", frames, severity)[0] for severity in (1, 3))
    differences = [[frame.astype(float) - 128 for _, frame in some] for some in (mild, strong)]
    assert np.corrcoef(differences[0][0].ravel(), differences[1][0].ravel())[0, 1] > 0.98
    assert abs(np.corrcoef(differences[0][0].ravel(), differences[0][1].ravel())[0, 1]) < 0.1


def test_low_resolution_has_no_detail_finer_than_its_pixels():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    ((_, shown),), measured = corrupted("low_resolution", [(Fraction(0), board)], 1)
    assert np.ptp(shown[4:-4, 4:-4]) <= 2 and measured["height"] == 32


# Time


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.text(max_size=5), st.sampled_from([0.5, 2.0, 3.3]))
@runs(max_examples=25)
def test_a_burst_takes_its_share_of_each_period_and_a_longer_one_holds_it(one, other, name, period):
    bursts = Bursts(period=period)
    seconds = [Fraction(period) * step / 50 for step in range(150)]
    short, long = (
        np.array([bursts.hold(second, share=share, name="black", clip=clip(name)) for second in seconds])
        for share in sorted((one, other))
    )
    assert not (short & ~long).any()
    for part in long.reshape(3, 50):
        assert abs(part.mean() - max(one, other)) <= 1 / 50 + 1e-9
        assert np.abs(np.diff(np.flatnonzero(part))).max(initial=1) == 1  # one burst


def test_frozen_frames_show_the_last_picture_before_the_burst():
    frames = film(96)
    before = set()
    for severity in SEVERITIES:
        shown, measured = corrupted("frozen_frames", frames, severity)
        frozen = {k for k in range(1, 96) if not np.array_equal(frames[k][1], shown[k][1])}
        assert before <= frozen
        for k in frozen:
            assert np.array_equal(shown[k][1], shown[k - 1][1])
        assert measured["frozen"] == pytest.approx(len(frozen) / 96)
        assert measured["frozen"] == pytest.approx(KINDS["frozen_frames"].levels[severity - 1] / 100, abs=0.05)
        before = frozen


def test_dropped_frames_are_nested_and_counted():
    frames = film(96)
    kept = {second for second, _ in frames}
    for severity in SEVERITIES:
        shown, measured = corrupted("dropped_frames", frames, severity)
        left = {second for second, _ in shown}
        assert left <= kept
        assert all(any(second == time and frame is picture for time, picture in frames) for second, frame in shown)
        assert measured["dropped"] == pytest.approx(1 - len(left) / 96)
        assert measured["dropped"] == pytest.approx(KINDS["dropped_frames"].levels[severity - 1] / 100, abs=0.05)
        kept = left


def test_black_bursts_are_nested_and_the_whole_clip_is_black_at_last():
    frames = film(96)
    before = set()
    for severity in SEVERITIES:
        shown, measured = corrupted("black", frames, severity)
        black = {k for k in range(96) if not shown[k][1].any()}
        assert before <= black and measured["black"] == pytest.approx(len(black) / 96)
        assert all(k in black or np.array_equal(shown[k][1], frames[k][1]) for k in range(96))
        before = black
    assert len(before) == 96


@pytest.mark.parametrize("fps", [12, 24, 25, 30, Fraction(30000, 1001), 60])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_frame_rate_is_that_of_the_severity_and_even(severity, fps):
    picture = np.zeros((2, 2, 3), np.uint8)
    # Milliseconds, as in Matroska; the clip begins late.
    frames = [(3 + Fraction(round(1000 * number / fps), 1000), picture) for number in range(round(10 * fps))]
    shown, measured = corrupted("low_frame_rate", frames, severity)
    target = min(KINDS["low_frame_rate"].levels[severity - 1], float(fps))
    assert len(shown) / 10 == pytest.approx(target, abs=0.15)
    assert measured["rate"] == pytest.approx(target, rel=0.03)
    assert measured["dropped"] == pytest.approx(1 - len(shown) / len(frames))
    gaps = np.diff([float(second) for second, _ in shown])
    assert np.ptp(gaps) <= 1 / fps + 0.002
    assert shown[0][0] == 3


def test_a_clip_with_few_frames_per_second_is_kept():
    frames = film(10, fps=1)
    assert same(corrupted("low_frame_rate", frames, 5)[0], frames)


# Codecs


def test_compression_keeps_order_and_colours():
    frames = [(Fraction(k, 25), np.full((48, 64, 3), (40 + 2 * k, 120, 200 - 2 * k), np.uint8)) for k in range(60)]
    shown, measured = corrupted("h264", frames, 1)
    for (_, clean), (_, frame) in zip(frames, shown, strict=True):
        assert np.abs(frame.mean(axis=(0, 1)) - clean[0, 0]).max() < 8
    assert measured["bits"] > 0


def test_a_stream_is_smaller_at_each_severity():
    sizes = [corrupted("h264", film(40, 96, 128), severity)[1]["bits"] for severity in SEVERITIES]
    assert all(mild > strong for mild, strong in pairwise(sizes))


@pytest.mark.parametrize("name", [f"clip {number}" for number in range(30)])
def test_a_damaged_stream_never_crashes_and_all_frames_are_accounted_for(name):
    frames = film(60, 47, 63)
    shown, measured = corrupted("damaged_video", frames, 5, clip(name))
    assert len(shown) == round(60 * (1 - measured["dropped"]))
    assert [second for second, _ in shown] == [second for second, _ in frames[60 - len(shown) :]]
    assert 0.15 < measured["damaged"] < 0.65 and measured["held"] <= 1 - measured["dropped"]
    assert all(frame.shape == (47, 63, 3) for _, frame in shown)
    again = corrupted("damaged_video", frames, 5, clip(name))
    assert same(shown, again[0])


class AllHit(DamagedVideo):
    levels = (100, 100, 100, 100, 100)


def lost(packet):
    """The packet with nothing but its first byte."""
    broken = av.Packet(bytes(packet)[:1])
    broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
    return broken


def test_frames_that_cannot_be_decoded_show_the_last_picture(monkeypatch):
    whole = 5
    monkeypatch.setattr(
        damaged_video, "_damaged", lambda packet, random: packet if packet.pts < whole else lost(packet)
    )
    frames, measured = film(40), {}
    shown = list(AllHit().corrupt(iter(frames), 1, clip(), measured))
    assert [second for second, _ in shown] == [second for second, _ in frames]
    assert all(np.array_equal(frame, shown[whole - 1][1]) for _, frame in shown[whole:])
    assert not any(np.array_equal(a[1], b[1]) for a, b in pairwise(shown[:whole]))
    assert measured["held"] == 35 / 40 and measured["dropped"] == 0


def test_frames_before_the_first_that_can_be_decoded_are_dropped(monkeypatch):
    # The second keyframe comes after 50 frames.
    monkeypatch.setattr(damaged_video, "_damaged", lambda packet, random: packet if packet.pts >= 50 else lost(packet))
    frames, measured = film(60), {}
    shown = list(AllHit().corrupt(iter(frames), 1, clip(), measured))
    assert [second for second, _ in shown] == [second for second, _ in frames[50:]]
    assert measured["dropped"] == 50 / 60 and measured["held"] == 0


def test_a_stream_of_which_nothing_is_left_has_no_frame(monkeypatch):
    monkeypatch.setattr(damaged_video, "_damaged", lambda packet, random: lost(packet))
    measured = {}
    assert list(AllHit().corrupt(iter(film(30)), 1, clip(), measured)) == []
    assert measured["dropped"] == 1 and measured["held"] == 0 and isnan(measured["psnr"])


def test_damage_at_a_severity_is_damage_at_each_higher_one():
    frames, clean = film(60), None
    first = []
    for severity in SEVERITIES:
        shown, _ = corrupted("damaged_video", frames, severity, clip("nested"))
        clean = clean or list(_undamaged(frames))
        differs = [k for k, (a, b) in enumerate(zip(clean, shown, strict=True)) if not np.array_equal(a[1], b[1])]
        first.append(min(differs, default=len(frames)))
    assert first == sorted(first, reverse=True) and first[0] > first[-1]


def _undamaged(frames):
    class Whole(DamagedVideo):
        levels = (0, 0, 0, 0, 0)

    measured = {}
    yield from Whole().corrupt(iter(frames), 1, clip("nested"), measured)
    assert measured["damaged"] == measured["held"] == measured["dropped"] == 0


@pytest.mark.real
@pytest.mark.parametrize("name", ["no_face", "single_face", "WolfgangLanger_Pexels"])
def test_clips_run_through(real_data, name):
    for kind in KINDS:
        frames = islice(read_frames(real_data / "clips" / f"{name}.mp4"), 6)
        measured = {}
        shown = list(KINDS[kind]().corrupt(frames, 4, clip(name), measured))
        assert len(shown) <= 6 and set(measured) == set(KINDS[kind].measured)
