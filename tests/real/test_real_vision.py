import numpy as np
import pytest

from elision.features.vision import NAMES, extract
from elision.settings.params import VisionFeatures

pytestmark = pytest.mark.real


def test_a_face_that_is_there_is_seen_in_every_frame(real_data):
    features = extract(real_data / "clips" / "single_face.mp4", VisionFeatures()).values
    assert features.shape == (72, 35)
    assert np.isfinite(features).all()
    # A head that faces the camera, at some distance from it, with open eyes.
    means = dict(zip(NAMES, features.mean(axis=0), strict=True))
    assert max(abs(means[name]) for name in ("pose_rx", "pose_ry", "pose_rz")) < np.radians(15)
    assert 300 < means["pose_tz"] < 1500
    assert 0.1 < means["eye_open_left"] < 0.5


def test_a_moving_face_is_tracked(real_data):
    features = extract(real_data / "clips" / "WolfgangLanger_Pexels.mp4", VisionFeatures(fps=5)).values
    assert np.isfinite(features).all(axis=1).mean() > 0.95
    assert np.nanstd(features[:, NAMES.index("pose_ry")]) > 0.02


def test_no_face_is_found_where_there_is_none(real_data):
    features = extract(real_data / "clips" / "no_face.mp4", VisionFeatures()).values
    assert len(features) == 95
    assert np.isnan(features).all()
