"""Action units, emotions, gaze and head pose by py-feat 2.1 (Cheong et al., 2023): the GPU backend of ``vision``.

py-feat is not among Elision's own dependencies (``envs/pyfeat.yaml`` installs it), and its weights are downloaded:
docs/pyfeat.md tells how, and under which terms.
"""

import importlib.util
import shutil
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pandas as pd

from elision.errors import ElisionError
from elision.files import replacing, sha256
from elision.progress import track
from elision.provenance.contents import PYFEAT_WEIGHTS as FETCHED
from elision.settings.params import VisionFeatures

if TYPE_CHECKING:
    import feat

# Columns of py-feat's table, in our order; its capitals are not the same in all its detectors.
_COLUMNS = (
    *("Pitch", "Roll", "Yaw", "gaze_pitch", "gaze_yaw", "gaze_angle"),
    *(f"AU{unit:02d}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)),
    *("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "valence", "arousal"),
)
_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
_POSE = {"Pitch": "pose_pitch", "Roll": "pose_roll", "Yaw": "pose_yaw"}
NAMES = tuple(_POSE.get(name, name if name.startswith("AU") else name.lower()) for name in _COLUMNS)

# Repositories of https://huggingface.co/py-feat that Detectorv2 reads without its identity model, each with the names
# that its one file may have, the first that exists counts.
WEIGHTS = {
    "retinaface_r34": ("model.safetensors", "retinaface_r34.safetensors"),
    "face_multitask_v2": ("face_multitask_v28.safetensors",),
}

_INSTALL = (
    "install it with envs/pyfeat.yaml: run the workflow with `snakemake --use-conda`, or `pip install` the list of "
    "that file in an environment of its own"
)


def analyse(frames: Iterable[np.ndarray], settings: VisionFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Analyse frames, ``settings.batch_size`` at a time; no more of them are held in memory.

    Parameters
    ----------
    frames : iterable of np.ndarray [shape=(height, width, 3), dtype=uint8]
        RGB, all of one size.
    settings : VisionFeatures

    Returns
    -------
    features : np.ndarray [shape=(T, 35), dtype=float32]
        Columns as in ``NAMES``: head pose and gaze (rad), probabilities of 20 action units and of 7 emotions, valence
        and arousal in [-1, 1]; NaN where there is no face.
    places : np.ndarray [shape=(T, 3), dtype=float64]
        x and y of the middle of the face, and the longer side of its box, in pixels; NaN where there is no face.

    Raises
    ------
    ElisionError
        If py-feat is not installed or lacks its weights.
    """
    frames = iter(frames)
    rows, places = [np.zeros((0, len(NAMES)), np.float32)], [np.zeros((0, 3))]
    while batch := list(islice(frames, settings.batch_size)):
        detector = _detector()
        images = _torch_images(batch)
        fex = detector.detect(images, data_type="tensor", batch_size=len(batch), progress_bar=False)
        for parts, found in zip((rows, places), columns(fex, frames=len(batch)), strict=True):
            parts.append(found)
    return np.concatenate(rows), np.concatenate(places)


def columns(fex: pd.DataFrame, *, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Pick our columns of py-feat's table, and one face per frame.

    Parameters
    ----------
    fex : pd.DataFrame
        A row per face: ``frame``, ``FaceRectX``, ``FaceRectY``, ``FaceRectWidth``, ``FaceRectHeight`` and the columns
        of ``NAMES``, under py-feat's names in any capitals.
    frames : int
        Number of frames analysed, T.

    Returns
    -------
    features : np.ndarray [shape=(T, 35), dtype=float32]
        In row i the largest face of frame i (by the area of its box); NaN where there is none.
    places : np.ndarray [shape=(T, 3), dtype=float64]
        x and y of the middle of its box, and the longer side.

    Raises
    ------
    ElisionError
        If a column is missing.
    """
    present = {str(column).lower(): column for column in fex.columns}
    missing = [name for name in ("frame", *_BOX, *_COLUMNS) if name.lower() not in present]
    if missing:
        raise ElisionError(
            f"py-feat's table has no column {', '.join(missing)}; Elision reads the Detectorv2 of py-feat 2.1 "
            "with the weights face_multitask_v28 (envs/pyfeat.yaml, docs/pyfeat.md)"
        )
    values = fex[[present[name.lower()] for name in _COLUMNS]].to_numpy(np.float32)
    frame = fex[present["frame"]].to_numpy(int)
    x, y, width, height = (fex[present[name.lower()]].to_numpy(float) for name in _BOX)
    area = width * height
    place = np.column_stack([x + width / 2, y + height / 2, np.maximum(width, height)])

    features, places = np.full((frames, len(NAMES)), np.nan, np.float32), np.full((frames, 3), np.nan)
    observed = np.flatnonzero(~np.isnan(values).any(axis=1) & ~np.isnan(area))
    # Of several faces the largest is written last; of equal ones the first in the table.
    ascending = observed[np.lexsort((-observed, area[observed]))]
    for row in ascending:
        features[frame[row]], places[frame[row]] = values[row], place[row]
    return features, places


def version() -> str:
    """Return the version of py-feat and, for each of its weights, the first digits of their revision.

    Raises
    ------
    ElisionError
        If py-feat is not installed or lacks its weights.
    """
    _require_weights()
    revisions = [f"{name} {_revision(_cache(name))[:12]}" for name in WEIGHTS]
    return ", ".join([metadata.version("py-feat"), *revisions])


def missing_weights() -> list[Path]:
    """Return the files that py-feat needs and that do not stand where it looks.

    Raises
    ------
    ElisionError
        If py-feat is not installed.
    """
    missing = []
    for repository, names in WEIGHTS.items():
        cached = _cache(repository)
        snapshot = cached / "snapshots" / _revision(cached)
        if not any((snapshot / name).is_file() for name in names):
            missing.append(cached / "snapshots" / "<revision>" / names[0])
    return missing


def fetch(folder: str | Path) -> None:
    """Download py-feat's weights to a folder and put copies of them where py-feat looks.

    What the folder already holds, as ``<repository>/<file>``, is not downloaded: filled on another machine it serves
    one without a network. py-feat looks inside its own package only, in a Hugging Face cache; there the SHA-256 of
    the file is its revision.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.

    Raises
    ------
    ElisionError
        If a file can neither be found nor downloaded, py-feat is not installed, or its folder cannot be written to.
    """
    for repository in track(WEIGHTS, "fetch the weights of py-feat"):
        file = _find(Path(folder), repository) or _download(Path(folder), repository)
        cached = _cache(repository)
        revision = sha256(file)
        try:
            with replacing(cached / "snapshots" / revision / file.name) as temporary:
                shutil.copyfile(file, temporary)
            with replacing(cached / "refs" / "main") as temporary:
                temporary.write_text(revision)
        except OSError as error:
            raise ElisionError(
                f"{cached}: cannot be written ({error}); run this in an environment of your own"
            ) from error


def _find(folder: Path, repository: str) -> Path | None:
    """Return the weights of a repository in a folder."""
    paths = [folder / repository / name for name in WEIGHTS[repository]]
    return next((path for path in paths if path.is_file()), None)


def _download(folder: Path, repository: str) -> Path:
    from huggingface_hub import hf_hub_download  # only for people who fetch
    from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

    target = folder / repository
    for name in WEIGHTS[repository]:
        try:
            return Path(hf_hub_download(f"py-feat/{repository}", name, local_dir=target))
        except RemoteEntryNotFoundError as error:
            reason = error
        except (HfHubHTTPError, OSError) as error:  # without a network it is an OSError
            reason = error
            break
    raise ElisionError(
        f"{target}: the weights py-feat/{repository} cannot be downloaded ({reason}). On a machine without a network, "
        f"copy https://huggingface.co/py-feat/{repository}/resolve/main/{WEIGHTS[repository][0]} "
        f"to {target / WEIGHTS[repository][0]} and run `elision fetch pyfeat --folder {folder}` again"
    ) from reason


def _cache(repository: str) -> Path:
    """Return the folder inside py-feat's package where it looks for a repository's weights."""
    spec = importlib.util.find_spec("feat")
    if spec is None or not spec.submodule_search_locations:
        raise ElisionError(f"py-feat is not installed in this environment; {_INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "resources" / f"models--py-feat--{repository}"


def _revision(cached: Path) -> str:
    """Return the revision that py-feat would take; an empty name when there is none."""
    main = cached / "refs" / "main"
    return main.read_text().strip() if main.is_file() else ""


def _require_weights() -> None:
    if missing := missing_weights():
        raise ElisionError(
            f"py-feat's weights are missing: {', '.join(map(str, missing))}; "
            "get them with `elision fetch pyfeat` (docs/pyfeat.md)"
        )
    for repository in WEIGHTS:
        fetched = _find(FETCHED, repository)
        if fetched and sha256(fetched) != _revision(_cache(repository)):
            raise ElisionError(f"{fetched}: py-feat has other weights than this file; run `elision fetch pyfeat`")


@cache
def _detector() -> "feat.Detectorv2":
    """Load py-feat's networks, once per process; on a GPU when there is one."""
    _require_weights()
    try:
        import feat  # takes long, and is absent from Elision's own environment
        import huggingface_hub.constants
    except (ImportError, OSError, RuntimeError) as error:  # torchvision without its operators is a RuntimeError
        raise ElisionError(f"py-feat cannot be imported ({error}); {_INSTALL}") from error
    # With the hub in reach py-feat would look for newer weights than those staged.
    with patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True):
        # Full precision: bfloat16, its default on GPUs, changes the numbers from machine to machine.
        return feat.Detectorv2(device="auto", identity_model=None, amp=False)


def _torch_images(batch: list[np.ndarray]):  # noqa: ANN202
    """Stack RGB frames to a uint8 tensor [B, 3, height, width]."""
    import torch

    return torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
