"""Vision models of the hub: aligned crops of the face, batches, windows of videos, frames without a face."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from skimage import data

import hub_models
from elision.errors import ElisionError
from elision.features import faces, vision, vision_hf
from elision.features.shards import extractor
from elision.settings.params import Features, VisionFeatures

SIZE = 256


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: hub_models.make(name, tmp_path_factory.mktemp(name)) for name in hub_models.PICTURE}
    return made | {"hubert": hub_models.make("hubert", tmp_path_factory.mktemp("hubert"))}


@pytest.fixture(scope="module")
def settings(folders):
    """A function from a family to the settings of a model of it."""
    return lambda family, **given: VisionFeatures(extractor="hf", model=folders[family], **given)


@pytest.fixture(scope="module")
def photograph():
    """The face of a picture, 256 x 256."""
    return np.ascontiguousarray(data.astronaut()[:SIZE, 96 : 96 + SIZE])


def squares(count, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (40 + k, 40 + k, 3), np.uint8) for k in range(count)]


def pictures(*frames, fps=10):
    return vision.Pictures(lambda facts: ((Fraction(k, fps), frame) for k, frame in enumerate(frames)))


def turned(photograph, degrees, scale=1.0, shift=(0, 0)):
    """The picture, turned about its middle."""
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(photograph, matrix, (SIZE, SIZE))


def cropped(frame):
    track = vision.Track()
    ((frame, mesh),) = track.follow([frame])
    return vision_hf.crop(frame, mesh)


def mesh_of(square):
    ((_, mesh),) = vision.Track().follow([square])
    return mesh


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, (0, 0)), (25, 1, (0, 0)), (-30, 0.8, (20, 10)), (15, 0.6, (-30, 0))]
)
def test_a_crop_is_upright_and_the_face_fills_it_wherever_the_face_was(photograph, degrees, scale, shift):
    square = cropped(turned(photograph, degrees, scale, shift))
    assert square.shape[0] == square.shape[1]
    mesh = mesh_of(square)
    right, left = mesh[33, :2], mesh[263, :2]
    assert abs(np.degrees(np.arctan2(*(left - right)[::-1]))) < 4
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 0.5, atol=0.08)
    assert 0.65 < (high - low).max() < 0.9


def test_a_crop_is_as_large_as_the_face_and_black_beyond_the_frame(photograph):
    whole = cropped(photograph)
    assert cropped(np.repeat(np.repeat(photograph, 2, 0), 2, 1)).shape[0] == pytest.approx(2 * whole.shape[0], rel=0.1)
    assert cropped(np.repeat(np.repeat(photograph, 5, 0), 5, 1)).shape == (512, 512, 3)
    top = np.ascontiguousarray(photograph[70:])  # the forehead is at the edge
    square = cropped(top)
    assert not square[0].any()
    assert square[len(square) // 2].any()


@pytest.mark.parametrize("family", ["clip", "dinov2"])
def test_states_are_the_class_tokens_that_transformers_gives(settings, family):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder, given = settings(family).model, squares(3)
    processor, model = AutoImageProcessor.from_pretrained(folder, backend="pil"), AutoModel.from_pretrained(folder)
    model = model.vision_model if family == "clip" else model
    with torch.inference_mode():
        pixels = processor(given, return_tensors="pt")["pixel_values"]
        found = model.eval()(pixels, output_hidden_states=True).hidden_states
    expected = torch.stack(found[-4:]).mean(0)[:, 0].numpy()
    np.testing.assert_allclose(vision_hf.states(given, settings(family)), expected, atol=1e-5)


def test_states_of_a_video_are_the_means_of_the_tokens_of_each_moment(settings):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder, given = settings("videomae").model, squares(4)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        pixels = processor(given, return_tensors="pt")["pixel_values"]
        found = AutoModel.from_pretrained(folder).eval()(pixels, output_hidden_states=True).hidden_states
    tokens = torch.stack(found[-4:]).mean(0)[0].reshape(2, 16, 16)  # moments, patches, width
    expected = tokens.mean(1).repeat_interleave(2, 0).numpy()
    np.testing.assert_allclose(vision_hf.states(given, settings("videomae")), expected, atol=1e-5)


@pytest.mark.parametrize("family", hub_models.PICTURE)
@pytest.mark.parametrize("batch", [1, 5, 8, 100])
def test_the_size_of_batches_changes_nothing_beyond_the_last_bits(settings, family, batch):
    given = [None, *squares(7), None, *squares(6, seed=1)]
    expected = vision_hf.states(given, settings(family))
    np.testing.assert_allclose(vision_hf.states(given, settings(family, batch_size=batch)), expected, atol=1e-5)


@pytest.mark.parametrize("family", hub_models.PICTURE)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
def test_there_is_a_row_per_frame_and_nan_without_a_face(settings, family, count):
    given = squares(count)
    assert vision_hf.states(given, settings(family)).shape == (count, 16)
    gone = [None if number % 3 == 0 else square for number, square in enumerate(given)]
    lost = np.isnan(vision_hf.states(gone, settings(family))).any(axis=1)
    assert lost.tolist() == [number % 3 == 0 for number in range(count)]
    assert np.isnan(vision_hf.states([None] * count, settings(family))).all()


def test_windows_of_a_video_follow_each_other_and_the_last_ends_with_it(settings):
    given, videomae = squares(10), settings("videomae")
    found = vision_hf.states(given, videomae)
    np.testing.assert_allclose(found[4:8], vision_hf.states(given[4:8], videomae), atol=1e-5)
    np.testing.assert_allclose(found[8:], vision_hf.states(given[6:], videomae)[2:], atol=1e-5)
    short = vision_hf.states(given[:3], videomae)
    np.testing.assert_allclose(short, vision_hf.states([*given[:3], given[2]], videomae)[:3], atol=1e-5)


def test_in_a_window_a_missing_face_is_that_of_the_frame_before_or_else_after(settings):
    a, b, c = squares(3)
    videomae = settings("videomae")
    found = vision_hf.states([None, a, None, b, None, c, c, c], videomae)
    np.testing.assert_allclose(found[1], vision_hf.states([a, a, a, b], videomae)[1], atol=1e-5)
    np.testing.assert_allclose(found[5:], vision_hf.states([b, c, c, c], videomae)[1:], atol=1e-5)


def test_features_follow_the_face_and_frames_without_one_are_not_observed(settings, photograph):
    dark = np.zeros_like(photograph)
    made = vision_hf.of_pictures(pictures(photograph, turned(photograph, 20), dark), settings("dinov2"))
    assert np.isnan(made.values).any(axis=1).tolist() == [False, False, True]
    assert made.times.tolist() == [0, 0.1, 0.2]
    upright, tilted = made.values[:2]
    other = vision_hf.states(squares(1), settings("dinov2"))[0]
    assert np.linalg.norm(upright - tilted) < np.linalg.norm(upright - other) / 2


def test_the_mean_has_one_row_without_a_time(settings, photograph):
    given = pictures(photograph, np.zeros_like(photograph), photograph)
    frames, mean = (vision_hf.of_pictures(given, settings("dinov2", pool=pool)) for pool in ("frames", "mean"))
    np.testing.assert_allclose(mean.values[0], np.nanmean(frames.values, axis=0), atol=1e-5)
    assert mean.times is None
    without = vision_hf.of_pictures(pictures(np.zeros_like(photograph)), settings("dinov2", pool="mean"))
    assert without.values.shape == (1, 16) and np.isnan(without.values).all()
    assert vision_hf.frame_rate(settings("dinov2", pool="mean", fps=5)) is None


def test_the_header_has_model_licence_names_and_versions(settings):
    describe, header = extractor("vision", Features(vision=settings("clip", fps=5)))
    assert (header.extractor, header.rate, len(header.features)) == ("hf", 5, 16)
    assert header.settings["model"] == settings("clip").model
    assert header.settings["licence"] == "apache-2.0"
    assert "transformers" in header.version and "mediapipe" in header.version
    assert "device" not in header.settings  # it changes no value
    assert describe(None).values.shape == (0, 16)


def test_the_face_of_a_clip_is_that_of_mediapipe(settings, monkeypatch, tmp_path):
    seen = []
    backend = vision.BACKENDS["mediapipe"]
    spy = replace(backend, analyse=lambda *given: seen.append(given) or (np.zeros((0, 35)), np.zeros((0, 3))))
    monkeypatch.setitem(vision.BACKENDS, "mediapipe", spy)
    monkeypatch.setattr(faces, "kept_until", lambda *_, **__: None)
    monkeypatch.setattr(faces, "read_frames", lambda *_, **__: (frame for frame in ()))
    assert faces.face_boxes(tmp_path / "a.mp4", settings("clip"))(Fraction(0)) is None
    assert len(seen) == 1


def test_a_model_that_sees_nothing_is_refused(settings):
    with pytest.raises(ElisionError, match="hubert"):
        vision_hf.states(squares(1), settings("hubert"))
