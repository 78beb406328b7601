from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from skimage import data

from elision.features import vision
from elision.features.vision import NAMES, centre, descriptor, feature_names, one_person
from elision.settings.params import AudioFeatures, VisionFeatures

SIZE = 256
EXPRESSION = slice(6, 35)
SETTINGS = VisionFeatures(max_length=None)


def of_clip(path, settings, **kw):
    return vision.extract(path, settings, **kw)


def extract(path, settings, **kw):
    return of_clip(path, settings, **kw).values


def column(features, name):
    return features[..., NAMES.index(name)]


def analyse(frames):
    features, _ = vision.BACKENDS["mediapipe"].analyse(frames, SETTINGS)
    return features


@pytest.fixture(scope="module")
def photograph():
    """The face of a picture, 256 x 256."""
    return np.ascontiguousarray(data.astronaut()[:SIZE, 96 : 96 + SIZE])


@pytest.fixture(scope="module")
def mesh(photograph):
    """Its mesh in pixels [478, 3]."""
    with vision._face_mesh() as graph:
        (face,) = graph.process(photograph).multi_face_landmarks
    return np.array([(point.x, point.y, point.z) for point in face.landmark]) * SIZE


def describe(*meshes, size=SIZE):
    return descriptor(np.array(meshes) / size, width=size, height=size)


def moved(mesh, landmarks, by):
    mesh = mesh.copy()
    mesh[np.ravel(landmarks)] += by
    return mesh


def turned(mesh, rotation, scale=1.0, shift=(0.0, 0.0, 0.0)):
    middle = mesh.mean(axis=0)
    return scale * (mesh - middle) @ rotation.as_matrix().T + middle + shift


def warped(image, mesh, landmarks, by, radius=8.0):
    """The picture with some landmarks moved by pixels, and what is around them moved along."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    across, down = np.zeros_like(columns), np.zeros_like(rows)
    for landmark, (x, y) in zip(landmarks, by, strict=True):
        weight = np.exp(-((columns - mesh[landmark, 0]) ** 2 + (rows - mesh[landmark, 1]) ** 2) / (2 * radius**2))
        across, down = across + x * weight, down + y * weight
    return cv2.remap(image, (columns - across).astype(np.float32), (rows - down).astype(np.float32), cv2.INTER_LINEAR)


def write_video(path, frames, rate=25, codec="libx264", aspect=None, rotation=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "12", "qmin": "1", "qmax": "2"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_every_column_has_a_name_and_stands_in_the_table():
    assert len(NAMES) == len(set(NAMES)) == 35
    assert feature_names(SETTINGS) == list(NAMES)
    for name in NAMES:
        assert name.removesuffix("_y").removesuffix("_x") in descriptor.__doc__, name


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle", [-0.5, 0.2])
def test_pose_recovers_a_known_rotation(mesh, axis, angle):
    known = Rotation.from_rotvec(angle * np.eye(3)[axis])
    before, after = describe(mesh, turned(mesh, known))[:, :3]
    recovered = Rotation.from_euler("xyz", after) * Rotation.from_euler("xyz", before).inv()
    np.testing.assert_allclose(recovered.as_rotvec(), known.as_rotvec(), atol=1e-5)


@pytest.mark.parametrize(("axis", "name"), enumerate(["pose_rx", "pose_ry", "pose_rz"]))
def test_pose_angles_have_the_documented_signs(mesh, axis, name):
    neutral, rotated = describe(mesh, turned(mesh, Rotation.from_rotvec(0.3 * np.eye(3)[axis])))
    assert column(rotated, name) - column(neutral, name) == pytest.approx(0.3, abs=0.05)
    # What the signs mean, seen at the tip of the nose (4), the middle of the eyes (168) and the chin (152).
    points = turned(mesh, Rotation.from_rotvec(0.3 * np.eye(3)[axis]))
    if name == "pose_rx":
        assert points[4, 1] - points[168, 1] > mesh[4, 1] - mesh[168, 1]
    elif name == "pose_ry":
        assert points[4, 0] - points[168, 0] < mesh[4, 0] - mesh[168, 0]
    else:
        assert points[152, 0] - points[168, 0] < mesh[152, 0] - mesh[168, 0]


def test_roll_in_the_image_changes_one_angle_only(mesh):
    neutral, rolled = describe(mesh, turned(mesh, Rotation.from_euler("z", 0.4)))
    np.testing.assert_allclose(rolled[:3] - neutral[:3], [0, 0, 0.4], atol=1e-5)


def test_pose_translation_is_in_millimetres_of_a_canonical_head(mesh):
    known = [(0, 0, 0), (10, 0, 0), (0, -7, 0), (0, 0, 50)]
    here, right, up, depth = describe(*(mesh + shift for shift in known))[:, 3:6]
    pixels_per_mm = SIZE / here[2]
    np.testing.assert_allclose(right - here, [10 / pixels_per_mm, 0, 0], atol=1e-2)
    np.testing.assert_allclose(up - here, [0, -7 / pixels_per_mm, 0], atol=1e-2)
    np.testing.assert_allclose(depth, here, atol=1e-2)
    # The outer corners of the canonical eyes are 89 mm apart; this head's are about that.
    assert np.linalg.norm(mesh[263] - mesh[33]) / pixels_per_mm == pytest.approx(89, rel=0.1)


def test_a_face_twice_as_large_is_half_as_far(mesh):
    near, far = describe(mesh, turned(mesh, Rotation.identity(), scale=0.5))
    assert column(far, "pose_tz") == pytest.approx(2 * column(near, "pose_tz"), rel=1e-5)


@pytest.mark.parametrize(
    "motion",
    [
        {"rotation": Rotation.from_euler("z", 0.6)},
        {"rotation": Rotation.from_euler("xyz", [0.2, -0.4, 0.1])},
        {"rotation": Rotation.identity(), "shift": (30, -20, 0)},
        {"rotation": Rotation.identity(), "scale": 1.7},
    ],
    ids=["roll", "rotation", "translation", "scale"],
)
def test_gaze_and_expression_do_not_change_with_head_motion(mesh, motion):
    still, moving = describe(mesh, turned(mesh, **motion))
    np.testing.assert_allclose(moving[EXPRESSION], still[EXPRESSION], atol=1e-5)


def test_expression_does_not_depend_on_the_shape_of_the_image(mesh):
    square = describe(mesh)
    wide = descriptor(mesh[None] / (400, 300, 400), width=400, height=300)
    np.testing.assert_allclose(wide[:, EXPRESSION], square[:, EXPRESSION], atol=1e-5)


def test_lip_corners_move_the_mouth_and_not_the_pose(mesh):
    neutral, smile = describe(mesh, moved(mesh, [61, 291], (0, -4, 0)))
    for name in ("AU12_like", "corner_lift"):
        assert column(smile, name) - column(neutral, name) > 0.03
    assert column(smile, "AU15_like") < column(neutral, "AU15_like")
    np.testing.assert_array_equal(smile[:12], neutral[:12])


LIDS = [160, 159, 158, 387, 386, 385]


@pytest.mark.parametrize(
    ("rises", "landmarks", "by"),
    [
        ("AU01_like", [55, 107, 285, 336], (0, -3, 0)),
        ("AU02_like", [70, 63, 300, 293], (0, -3, 0)),
        ("AU05_like", LIDS, (0, -2, 0)),
        ("AU06_like", [205, 425], (0, -3, 0)),
        ("AU07_like", [144, 145, 153, 373, 374, 380], (0, -2, 0)),
        ("AU09_like", [129, 358], (0, -3, 0)),
        ("AU10_like", [0], (0, -3, 0)),
        ("AU14_like", [61, 291], (0, 0, 4)),
        ("AU15_like", [61, 291], (0, 3, 0)),
        ("AU17_like", [152], (0, -3, 0)),
        ("AU25_like", [14, 17], (0, 5, 0)),
        ("AU26_like", [152], (0, 5, 0)),
        ("AU45_like", LIDS, (0, 4, 0)),
        ("mouth_height", [17], (0, 4, 0)),
        ("eye_open_left", [387, 386, 385], (0, -2, 0)),
        ("eye_open_right", [160, 159, 158], (0, -2, 0)),
        ("asymmetry", [291], (4, -4, 0)),
        ("gaze_left_x", [473], (2, 0, 0)),
        ("gaze_left_y", [473], (0, 2, 0)),
        ("gaze_right_x", [468], (2, 0, 0)),
        ("gaze_right_y", [468], (0, 2, 0)),
        ("gaze_angle_x", [468, 473], (2, 0, 0)),
        ("gaze_angle_y", [468, 473], (0, 2, 0)),
    ],
)
def test_a_column_rises_when_its_landmarks_move(mesh, rises, landmarks, by):
    neutral, changed = describe(mesh, moved(mesh, landmarks, by))
    assert column(changed, rises) - column(neutral, rises) > 0.01


def test_paired_landmarks_that_part_change_the_columns_of_width(mesh):
    wider = moved(moved(mesh, 61, (-4, 0, 0)), 291, (4, 0, 0))
    frown = moved(moved(mesh, [55, 107], (2, 0, 0)), [285, 336], (-2, 0, 0))
    thin = moved(moved(mesh, 0, (0, 2, 0)), 17, (0, -2, 0))
    neutral, wider, frown, thin = describe(mesh, wider, frown, thin)
    for name, changed in (("AU20_like", wider), ("mouth_width", wider), ("AU04_like", frown), ("AU23_like", thin)):
        assert column(changed, name) - column(neutral, name) > 0.02


def test_one_closed_eye_is_no_blink(mesh):
    wink, blink = describe(moved(mesh, LIDS[:3], (0, 4, 0)), moved(mesh, LIDS, (0, 4, 0)))
    assert column(wink, "AU45_like") == pytest.approx(column(describe(mesh), "AU45_like")[0], abs=0.05)
    assert column(blink, "AU45_like") > column(wink, "AU45_like") + 0.1


def test_gaze_turns_with_the_iris_by_the_angle_of_an_eyeball(mesh):
    mesh = mesh[None] / SIZE
    mesh[0, list(vision._RIGID)] = np.array(list(vision._RIGID.values())) / 100 + 0.5
    for inner, outer, iris in ((133, 33, 468), (362, 263, 473)):
        middle, half = (mesh[0, inner] + mesh[0, outer]) / 2, np.linalg.norm((mesh[0, inner] - mesh[0, outer])[:2]) / 2
        mesh[0, iris] = middle + np.array([half * np.sin(0.4) / 1.25, 0, 0])
    gaze = descriptor(mesh, width=100, height=100)[0]
    assert column(gaze, "gaze_angle_x") == pytest.approx(0.4, abs=2e-3)
    np.testing.assert_allclose(gaze[:5], [0, 0, 0, 0, 0], atol=1e-4)


def test_frames_without_a_face_are_rows_of_nan(mesh):
    features = describe(mesh, np.full((478, 3), np.nan), mesh)
    assert np.isnan(features[1]).all()
    assert np.isfinite(features[[0, 2]]).all()
    np.testing.assert_array_equal(features[0], features[2])
    assert describe(np.full((478, 3), np.nan)).shape == (1, 35)


def test_a_smile_in_the_picture_moves_the_mouth_and_hardly_the_pose(photograph, mesh):
    amounts = np.linspace(-4, 4, 9)
    frames = [warped(photograph, mesh, [61, 291], [(-0.35 * a, -a), (0.35 * a, -a)]) for a in amounts]
    features = analyse(frames)
    for name in ("AU12_like", "corner_lift"):
        assert np.corrcoef(amounts, column(features, name))[0, 1] > 0.95
    assert np.ptp(features[:, :3], axis=0).max() < np.radians(3)


def test_a_blink_in_the_picture_raises_au45(photograph, mesh):
    amounts = np.linspace(0, 5, 6)
    features = analyse([warped(photograph, mesh, LIDS, [(0, 0.5 * a)] * 6, radius=4) for a in amounts])
    assert np.corrcoef(amounts, column(features, "AU45_like"))[0, 1] > 0.85


def test_roll_of_the_picture_is_read_from_it(photograph, mesh):
    degrees = np.array([-15.0, 0.0, 15.0])
    middle = tuple(mesh[:, :2].mean(axis=0).tolist())
    turns = [cv2.getRotationMatrix2D(middle, -angle, 1) for angle in degrees]  # OpenCV counts against the clock
    features = analyse([cv2.warpAffine(photograph, turn, (SIZE, SIZE)) for turn in turns])
    np.testing.assert_allclose(np.diff(np.degrees(column(features, "pose_rz"))), 15, atol=2)


@pytest.fixture(scope="module")
def clip(photograph, tmp_path_factory):
    """Two seconds at 25 Hz; the face is gone from frame 20 to 29."""
    frames = [np.roll(photograph, k % 7, axis=1) for k in range(50)]
    frames[20:30] = [np.zeros_like(photograph)] * 10
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", frames)


def test_a_clip_gives_a_row_per_frame_and_nan_while_the_face_is_gone(clip):
    features = extract(clip, SETTINGS)
    assert features.shape == (50, 35)
    assert features.dtype == np.float32
    absent = np.isnan(features).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(absent), np.arange(20, 30))
    assert np.isfinite(features[~absent]).all()


@pytest.mark.parametrize("fill", ["last", "interpolate"])
def test_frames_without_a_face_can_be_filled_and_are_counted(clip, fill):
    plain = of_clip(clip, SETTINGS)
    found = of_clip(clip, SETTINGS.model_copy(update={"fill": fill}))
    gone = np.isnan(plain.values).any(axis=1)
    np.testing.assert_array_equal(found.values[~gone], plain.values[~gone])
    assert found.facts["filled_frames"] == gone.sum() == 10
    before, after = plain.values[19], plain.values[30]
    expected = [before] * 10 if fill == "last" else [before + (after - before) * k / 11 for k in range(1, 11)]
    np.testing.assert_allclose(found.values[20:30], expected, atol=1e-4)
    assert found.values.dtype == np.float32


def test_two_extractions_are_equal_to_the_bit_whatever_came_before(clip, photograph):
    first = extract(clip, SETTINGS)
    analyse([photograph, photograph[::-1].copy()])
    assert first.tobytes() == extract(clip, SETTINGS).tobytes()


def test_fps_and_max_length_choose_frames(clip):
    assert len(extract(clip, VisionFeatures(fps=10))) == 20
    shortened = extract(clip, VisionFeatures(max_length=7))
    np.testing.assert_array_equal(shortened, extract(clip, SETTINGS)[:7])


def test_a_clip_without_any_face_is_nan_throughout(photograph, tmp_path):
    features = extract(write_video(tmp_path / "black.mp4", [np.zeros_like(photograph)] * 5), SETTINGS)
    assert features.shape == (5, 35)
    assert np.isnan(features).all()
    assert np.isnan(extract(tmp_path / "black.mp4", VisionFeatures(centre="clip"))).all()


def test_a_file_without_a_video_track_has_no_rows(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    for settings in (SETTINGS, VisionFeatures(extractor="pyfeat"), VisionFeatures(centre="clip")):
        features = extract(tmp_path / "sound.wav", settings)
        assert features.shape == (0, 35)
        assert features.dtype == np.float32


def test_extraction_writes_nothing_to_stderr(clip, capfd):
    extract(clip, VisionFeatures(max_length=3))
    assert capfd.readouterr().err == ""


def test_centring_a_clip_takes_away_its_mean(clip):
    centred = extract(clip, VisionFeatures(max_length=None, centre="clip"))
    plain = extract(clip, SETTINGS)
    np.testing.assert_array_equal(np.isnan(centred), np.isnan(plain))
    np.testing.assert_allclose(centred, plain - np.nanmean(plain, axis=0, dtype=np.float64), rtol=1e-4, atol=1e-4)


def test_centring_takes_the_mean_over_all_frames_of_a_speaker():
    a, b, c = np.array([[1.0, 2], [3, 4]]), np.array([[np.nan, np.nan], [8, 9]]), np.array([[5.0, 5]])
    first, second, third = centre([np.float32(x) for x in (a, b, c)], ["x", "x", "y"])
    np.testing.assert_allclose(first, [[-3, -3], [-1, -1]])
    np.testing.assert_allclose(second, [[np.nan, np.nan], [4, 4]])
    np.testing.assert_allclose(third, [[0, 0]])
    assert {x.dtype for x in (first, second, third)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_clips_of_unknown_speakers_are_centred_by_themselves(unknown):
    sequences = [np.full((2, 3), value, np.float32) for value in (1, 5, 9)]
    for centred in centre(sequences, [unknown, unknown, unknown]):
        np.testing.assert_array_equal(centred, 0)


def test_centring_leaves_empty_and_unobserved_clips_as_they_are():
    empty, unobserved = centre([np.zeros((0, 3), np.float32), np.full((2, 3), np.nan, np.float32)], ["x", "x"])
    assert empty.shape == (0, 3)
    assert np.isnan(unobserved).all()


def test_centring_twice_changes_nothing_more():
    rng = np.random.default_rng(0)
    sequences = [rng.normal(3, 1, (n, 4)).astype(np.float32) for n in (5, 0, 8)]
    once = centre(sequences, [0, 0, 1])
    for before, after in zip(once, centre(once, [0, 0, 1]), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


# Geometry


@pytest.fixture(scope="module")
def stage(photograph):
    """The face on a wide screen, 720 x 1280."""
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[50:690, 320:960] = cv2.resize(photograph, (640, 640))
    return frame


@pytest.mark.parametrize(
    ("suffix", "codec", "shape", "aspect"),
    [
        ("mp4", "libx264", (720, 720), Fraction(16, 9)),
        ("mkv", "libx264", (720, 960), Fraction(4, 3)),
        ("mov", "mpeg4", (360, 1280), Fraction(1, 2)),
        ("avi", "mpeg4", (720, 720), Fraction(16, 9)),
        ("mpg", "mpeg2video", (720, 720), Fraction(16, 9)),
    ],
)
def test_pixels_that_are_not_square_do_not_change_the_face(stage, tmp_path, suffix, codec, shape, aspect):
    square = extract(write_video(tmp_path / "square.mp4", [stage] * 6), SETTINGS)
    squeezed = cv2.resize(stage, shape[::-1], interpolation=cv2.INTER_AREA)
    path = write_video(tmp_path / f"other.{suffix}", [squeezed] * 6, codec=codec, aspect=aspect)
    other = extract(path, SETTINGS)
    assert np.abs(other - square)[:, :3].max() < np.radians(2)
    assert np.abs(np.median(other - square, axis=0)[EXPRESSION]).max() < 0.02


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_video_that_was_filmed_upright_is_analysed_upright(stage, tmp_path, suffix):
    upright = extract(write_video(tmp_path / "upright.mp4", [stage] * 4), SETTINGS)
    turned = np.ascontiguousarray(np.rot90(stage, -1))
    path = write_video(tmp_path / f"turned.{suffix}", [turned] * 4, codec="mpeg4", rotation=90)
    assert np.abs(np.median(extract(path, SETTINGS) - upright, axis=0)[[0, 1, 2, *range(6, 35)]]).max() < 0.03


# Small faces


def small(photograph, width, at=(500, 900)):
    """The face, which is 0.45 of the photograph, so many pixels wide on a screen of 720 x 1280."""
    side = round(width / 0.45)
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[at[0] : at[0] + side, at[1] : at[1] + side] = cv2.resize(photograph, (side, side), cv2.INTER_AREA)
    return frame


@pytest.mark.parametrize("at", [(20, 30), (300, 600), (560, 1100)])
@pytest.mark.parametrize("width", [50, 64])
def test_a_face_of_a_twentieth_of_the_width_is_found_where_it_is(photograph, width, at):
    features, places = vision.BACKENDS["mediapipe"].analyse([small(photograph, width, at)] * 3, SETTINGS)
    assert np.isfinite(features).all()
    middle = np.array([at[1], at[0]]) + width / 0.45 / 2
    assert np.hypot(*(places[:, :2] - middle).T).max() < width
    assert places[:, 2] == pytest.approx(1.2 * width, rel=0.3)


def test_a_small_face_is_followed_and_looks_like_the_large_one(photograph):
    frames = [small(photograph, 64, (300 + 3 * k, 600 + 6 * k)) for k in range(10)]
    found, large = analyse(frames), analyse([small(photograph, 240, (50, 400))] * 10)
    assert np.isfinite(found).all()
    assert (np.diff(column(found, "pose_tx")) > 0).all()
    assert np.abs(np.median(found, axis=0) - np.median(large, axis=0))[EXPRESSION].max() < 0.15
    assert column(found, "pose_tz").mean() == pytest.approx(240 / 64 * column(large, "pose_tz").mean(), rel=0.15)


def test_faces_that_are_large_enough_need_no_second_look(photograph, monkeypatch):
    monkeypatch.delattr(vision, "_detector")
    assert np.isfinite(analyse([photograph] * 4)).all()


def test_searches_for_small_faces_become_rare_while_there_is_none(photograph, monkeypatch):
    searched = []
    search = vision._SmallFaces._search
    monkeypatch.setattr(vision._SmallFaces, "_search", lambda self, frame: searched.append(1) or search(self, frame))
    frames = [np.zeros_like(photograph)] * 64 + [small(photograph, 64)[:, 560:]] * 22
    features = analyse([cv2.resize(frame, (720, 720)) for frame in frames[:64]] + frames[64:])
    assert np.isnan(features[:64]).all()
    assert np.isfinite(features[-1]).all()
    assert len(searched) <= 10


# One person


def walk(count, start=(100.0, 100.0, 80.0), step=(0.0, 0.0, 0.0)):
    return np.array(start) + np.arange(count)[:, None] * np.array(step)


ELSEWHERE = (260.0, 100.0, 80.0)


@pytest.mark.parametrize("other", [ELSEWHERE, (100.0, 190.0, 80.0), (100.0, 100.0, 140.0), (100.0, 100.0, 45.0)])
def test_a_face_elsewhere_or_of_another_size_is_another_persons_until_the_first_is_back(other):
    places = np.concatenate([walk(10), walk(5, other), walk(1, (np.nan,) * 3), walk(4)])
    assert one_person(places).tolist() == [True] * 10 + [False] * 6 + [True] * 4


@pytest.mark.parametrize("step", [(15.0, 0, 0), (0, -9.0, 0), (3.0, 0, 2.0), (20.0, 5.0, 4.0)])
def test_a_person_may_walk_and_come_near(step):
    assert one_person(walk(40, step=step)).all()


def test_a_false_alarm_is_not_the_person():
    places = np.concatenate([walk(3, ELSEWHERE), walk(20), walk(2, ELSEWHERE)])
    assert one_person(places).tolist() == [False] * 3 + [True] * 20 + [False] * 2


def test_without_anybody_who_stays_the_one_with_most_frames_is_followed():
    assert one_person(np.concatenate([walk(2, ELSEWHERE), walk(3)])).tolist() == [False] * 2 + [True] * 3
    assert one_person(walk(1)).tolist() == [True]
    assert one_person(np.full((3, 3), np.nan)).tolist() == [False] * 3
    assert one_person(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(("side", "by"), [("right", 1), ("below", 0)])
def test_frames_of_the_person_who_remains_are_not_observed(photograph, tmp_path, side, by):
    dark, two = np.zeros_like(photograph), []
    for k in range(40):
        first, second = (photograph if k < 15 else dark), (dark if k < 15 else photograph[:, ::-1])
        two.append(np.concatenate([first, second], axis=by))
    found = vision.extract(write_video(tmp_path / "two.mp4", two), SETTINGS)
    observed = ~np.isnan(found.values).any(axis=1)
    assert observed[:14].all()
    assert not observed[16:].any()
    assert found.facts["others"] >= 20


# Time


def test_each_frame_keeps_its_time(clip):
    assert vision.extract(clip, SETTINGS).times.tolist() == pytest.approx(np.arange(50) / 25)
    assert vision.extract(clip, VisionFeatures(fps=5)).times.tolist() == pytest.approx(np.arange(10) / 5)


def test_the_longest_audio_cuts_the_video_of_a_clip_with_sound(clip, photograph, tmp_path):
    audio = AudioFeatures(max_length=20)  # 0.46 s
    assert len(extract(clip, SETTINGS, audio=audio)) == 50  # there is no sound
    path = tmp_path / "sound.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        track = container.add_stream("aac", rate=22050, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 22050
        container.mux(track.encode(sound))
        container.mux(track.encode())
    found = vision.extract(path, SETTINGS, audio=audio)
    assert len(found.values) == len(found.times) == 12
    assert found.facts == {"cut": 20 * 512 / 22050}
