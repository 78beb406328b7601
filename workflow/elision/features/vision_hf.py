"""The face in a video as hidden states of a vision model of the Hugging Face hub: CLIP, DINOv2, VideoMAE.

MediaPipe's face mesh finds the face, as for the extractor mediapipe. A model sees an upright square around the head,
whatever the head's tilt in the image. A model of single pictures gives its class token, or the mean of its tokens where
it has none; a model of videos the mean of the tokens of each moment.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np

from elision.errors import ElisionError
from elision.features import hf, vision
from elision.features.hf import Loaded
from elision.settings.params import VisionFeatures
from elision.store import Extracted

read = vision.read

# Of the canonical face model, whose axes are those of the image: the middle of the face, from the forehead to the chin,
# and the side of the square around the head, in cm. The face itself is 18 cm high.
_MIDDLE = (0.0, 0.5, -4.5)
_SIDE = 23.0
_LARGEST = 512  # pixels; a model sees no more of a face


def crop(frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Cut the square around a head out of a frame, and turn the square upright.

    Parameters
    ----------
    frame : np.ndarray [shape=(height, width, 3), dtype=uint8]
    mesh : np.ndarray [shape=(478, 3)]
        Landmarks as in `vision.descriptor`.

    Returns
    -------
    square : np.ndarray [shape=(side, side, 3), dtype=uint8]
        As large as in the frame, 512 pixels at most. What lies beyond the frame is black. The eyes are on a horizontal
        line, and the middle of the face is the middle of the square.
    """
    height, width = frame.shape[:2]
    scale, rotation, translation = vision.pose(mesh, width=width, height=height)
    x, y, _ = translation + scale * rotation @ np.array(_MIDDLE)
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])  # pose_rz of the descriptor
    side = max(16, round(_SIDE * scale))
    cos, sin, half = np.cos(roll), np.sin(roll), (side - 1) / 2
    # From the square to the frame: turned by the roll of the head, about the middle of the face.
    to_frame = np.array([[cos, -sin, x - half * cos + half * sin], [sin, cos, y - half * sin - half * cos]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    square = cv2.warpAffine(frame, to_frame, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return square if side <= _LARGEST else cv2.resize(square, (_LARGEST, _LARGEST), interpolation=cv2.INTER_AREA)


def of_pictures(pictures: vision.Pictures, settings: VisionFeatures) -> Extracted:
    """Describe the face in pictures: see `vision.of_pictures`, with values of the width of the model.

    With ``pool: mean``, there is one row, the mean of the observed frames.
    """
    found = vision.of_pictures(pictures, settings, _analyse)
    return Extracted(hf.mean(found.values), facts=found.facts) if settings.pool == "mean" else found


def _analyse(frames: Iterable[np.ndarray], settings: VisionFeatures) -> tuple[np.ndarray, np.ndarray]:
    track = vision.Track()
    crops = (None if mesh is None else crop(frame, mesh) for frame, mesh in track.follow(frames))
    features = states(crops, settings)
    places = track.places()
    features[np.isnan(places).any(axis=1)] = np.nan
    return features, places


def states(crops: Iterable[np.ndarray | None], settings: VisionFeatures) -> np.ndarray:
    """Compute the hidden states of pictures; of these, no more are held in memory than a few batches have.

    Parameters
    ----------
    crops : iterable of np.ndarray [shape=(side, side, 3), dtype=uint8] or None
        RGB; None: there is no face.
    settings : VisionFeatures

    Returns
    -------
    features : np.ndarray [shape=(T, d), dtype=float32]
        NaN in the rows without a face. A model of videos sees windows of its number of frames, one after the other; the
        last window ends with the video. In a window, a frame without a face is the picture before it, or else after it.
        Frames of one tube, which the model sees as one, have equal rows. A video that is shorter than a window is
        extended by its last picture.

    Raises
    ------
    ElisionError
        If the model is missing, or is no model of pictures.
    """
    found = _model(settings)
    made = _of_videos(found, iter(crops)) if _window(found) else _of_images(found, iter(crops))
    return np.concatenate([np.zeros((0, found.width), np.float32), *made])


def _model(settings: VisionFeatures) -> Loaded:
    found = hf.loaded(settings)
    if not hasattr(found.config, "image_size"):
        raise ElisionError(
            f"features.vision.model: {settings.model} is a {found.config.model_type}, which sees no pictures; give a "
            "model of the kind of CLIP, DINOv2 or VideoMAE"
        )
    return found


def _window(found: Loaded) -> int:
    """Return the number of frames that a model of videos sees together; 0 for a model of pictures."""
    window, tube = (getattr(found.config, key, 0) for key in ("num_frames", "tubelet_size"))
    if window and not (isinstance(tube, int) and tube):
        raise ElisionError(
            f"features.vision.model: {found.settings.model} is a {found.config.model_type}, a model of videos that is "
            "not supported; give a VideoMAE, or a model of pictures"
        )
    return int(window)


def _of_images(found: Loaded, crops: Iterator[np.ndarray | None]) -> Iterator[np.ndarray]:
    named = (name.rpartition(".")[2] for name, _ in found.model.named_parameters())
    has_class = not {"cls_token", "class_embedding"}.isdisjoint(named)
    while batch := list(islice(crops, found.settings.batch_size)):
        features = np.full((len(batch), found.width), np.nan, np.float32)
        seen = [number for number, square in enumerate(batch) if square is not None]
        if seen:
            given = found.processor([batch[number] for number in seen], return_tensors="pt", **_CHANNELS)
            states = found.states(pixel_values=given["pixel_values"]).flatten(1, -2)
            features[seen] = (states[:, 0] if has_class else states.mean(1)).cpu().numpy()
        yield features


def _of_videos(found: Loaded, crops: Iterator[np.ndarray | None]) -> Iterator[np.ndarray]:
    import torch

    size, tube = _window(found), int(found.config.tubelet_size)
    windows = _windows(crops, size)
    while batch := list(islice(windows, max(1, found.settings.batch_size // size))):
        given = [
            found.processor(w.squares, return_tensors="pt", **_CHANNELS)["pixel_values"] for w in batch if w.squares
        ]
        if given:
            states = found.states(pixel_values=torch.cat(given))
            tubes = states.reshape(len(given), size // tube, -1, found.width).mean(2)
            made = iter(tubes.repeat_interleave(tube, 1).cpu().numpy())
        for each in batch:
            features = np.full((len(each.seen), found.width), np.nan, np.float32)
            if each.squares:
                features[each.seen] = next(made)[each.rows][each.seen]
            yield features


class _Window(NamedTuple):
    """What a model of videos sees together.

    Attributes
    ----------
    squares : list of np.ndarray
        Empty, if no frame of the window has a face.
    rows : slice
        The frames in which this window follows the one before.
    seen : np.ndarray [shape=(frames,), dtype=bool]
        Whether each of these has a face.
    """

    squares: list[np.ndarray]
    rows: slice
    seen: np.ndarray


def _windows(crops: Iterator[np.ndarray | None], size: int) -> Iterator[_Window]:
    before: list[np.ndarray | None] = []  # the window before
    while part := list(islice(crops, size)):
        seen = np.array([square is not None for square in part])
        filled = _filled(part, before[-1] if before else None)
        window = [*before, *filled][-size:]  # the last window of a video begins in the one before
        rows = slice(len(window) - len(part), len(window))
        window += window[-1:] * (size - len(window))  # a short video is extended by its last picture
        before = window
        # A video may begin with windows without a face.
        squares = [filled[0] if square is None else square for square in window]
        yield _Window([square for square in squares if square is not None] if seen.any() else [], rows, seen)


def _filled(squares: list[np.ndarray | None], last: np.ndarray | None) -> list[np.ndarray | None]:
    """Put the picture before it in place of each that is missing; at the beginning, the one after."""
    filled = []
    for square in squares:
        last = last if square is None else square
        filled.append(last)
    first = next((square for square in filled if square is not None), None)
    return [first if square is None else square for square in filled]


# Of pictures, so that a side of 3 pixels is not taken for channels.
_CHANNELS: dict[str, Any] = {"input_data_format": "channels_last"}


def feature_names(settings: VisionFeatures) -> list[str]:
    """Return a name for each column."""
    return hf.names(hf.loaded(settings).width)


def frame_rate(settings: VisionFeatures) -> float | None:
    """Return frames per second; None for the rate of each video, and for the mean of a clip."""
    return None if settings.pool == "mean" else settings.fps


def extractor(settings: VisionFeatures) -> str:
    """Return the name of the extractor."""
    return settings.extractor


def version(settings: VisionFeatures) -> str:
    """Return the version of the software and of the weights."""
    return f"{hf.version(settings)}, faces by mediapipe {vision.BACKENDS[settings.faces].version()}"


def described(settings: VisionFeatures) -> dict:
    """Return what the header tells of the extractor."""
    return hf.said_of(settings)
