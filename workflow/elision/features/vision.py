"""Face analysis of video: one feature vector per frame, and a row of NaN where no face is seen.

A sequence follows one person: the first whose face stays for some frames. Where another face takes its place, frames
are not observed until the person is back. Two backends share one interface (``Backend``): ``mediapipe``, whose weights
lie in its wheel, with the descriptor of this file, and ``pyfeat`` (``features/pyfeat.py``).
"""

import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from elision.errors import ElisionError
from elision.features import pyfeat
from elision.features.fill import fill
from elision.features.media import kept_until, read_frames
from elision.settings.params import AudioFeatures, VisionFeatures
from elision.store import Extracted

NAMES = (
    *("pose_rx", "pose_ry", "pose_rz", "pose_tx", "pose_ty", "pose_tz"),
    *("gaze_left_x", "gaze_left_y", "gaze_right_x", "gaze_right_y", "gaze_angle_x", "gaze_angle_y"),
    *(f"AU{unit:02d}_like" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)),
    *("mouth_width", "mouth_height", "corner_lift", "eye_open_left", "eye_open_right", "asymmetry"),
)

# Points that the muscles of expression hardly move: corners of the eyes, bridge and tip of the nose, top of the
# forehead, temples. Mouth, jaw, brows and lids are left out: with them the pose follows the smile. Coordinates in cm
# from MediaPipe's canonical_face_model.obj (Apache-2.0), turned to the axes of an image: x to its right, y down,
# z away from the camera.
_RIGID = {
    33: (-4.445859, -2.663991, -3.173422),
    133: (-1.856432, -2.585245, -3.757904),
    362: (1.856432, -2.585245, -3.757904),
    263: (4.445859, -2.663991, -3.173422),
    168: (0.0, -3.271027, -5.236015),
    6: (0.0, -2.473255, -5.788627),
    197: (0.0, -1.728369, -6.316750),
    195: (0.0, -1.059413, -6.774605),
    5: (0.0, -0.365669, -7.242870),
    4: (0.0, 0.463170, -7.586580),
    10: (0.0, -8.261778, -4.481535),
    109: (-1.891399, -8.236377, -4.274997),
    338: (1.891399, -8.236377, -4.274997),
    127: (-7.743095, -2.364999, 2.005167),
    356: (7.743095, -2.364999, 2.005167),
}

# Landmarks of the mesh; in pairs the subject's right side comes first.
_EYE_OUTER, _EYE_INNER, _IRIS = (33, 263), (133, 362), (468, 473)
_LID_UPPER, _LID_LOWER = ((160, 159, 158), (387, 386, 385)), ((144, 145, 153), (373, 374, 380))
_BROW_INNER, _BROW_OUTER = ((55, 107), (285, 336)), ((70, 63), (300, 293))
_CHEEK, _NOSE_WING, _LIP_CORNER = (205, 425), (129, 358), (61, 291)
_SUBNASALE, _CHIN = 2, 152
_LIP_UPPER, _LIP_UPPER_INNER, _LIP_LOWER_INNER, _LIP_LOWER = 0, 13, 14, 17
_MIRRORED = np.array([_EYE_OUTER, (70, 300), (55, 285), (159, 386), (145, 374), _CHEEK, _NOSE_WING, _LIP_CORNER])

# Adult means: radius of the eyeball 12 mm, half the width of the eye's opening 15 mm.
_HALF_EYE_PER_EYEBALL = 15 / 12

# When a face is another person's: its middle is further from the last than this share of its size, or it is so many
# times larger or smaller. From frame to frame, heads move and lean by far less.
_FURTHER, _LARGER = 0.75, 1.6
_STAYS = 5  # frames that a face is seen before it is the one to follow: a false alarm is shorter
_CROP = 3  # times the size of a small face
_CERTAIN = 0.75  # that there is a small face; what looks like one to the detectors and is none has 0.7 at most
_REST = 16  # most frames between two searches for small faces that find none


Analyse = Callable[[Iterable[np.ndarray], VisionFeatures], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Backend:
    """What analyses faces.

    Attributes
    ----------
    names : tuple of str
        A name for each of the d columns.
    version : callable
        Returns the version of the software and its weights.
    analyse : callable
        From an iterable of frames [shape=(height, width, 3), dtype=uint8] (RGB) and ``VisionFeatures`` to features
        [shape=(T, d), dtype=float32], a row per frame, NaN where there is no face, and the places of the faces
        [shape=(T, 3), dtype=float64]: x and y of the middle, and the longer side, in pixels.
    """

    names: tuple[str, ...]
    version: Callable[[], str]
    analyse: Analyse


Frames = Iterator[tuple[Fraction, np.ndarray]]


@dataclass(frozen=True)
class Pictures:
    """The video track of a clip, as far as it is analysed.

    Attributes
    ----------
    frames : callable
        Decodes it, anew each time: from a dict that takes the facts of `media.read_frames` to an iterator over the
        second and the RGB picture [shape=(height, width, 3), dtype=uint8] of each frame.
    """

    frames: Callable[[dict[str, Any]], Frames]


def read(path: str | Path, settings: VisionFeatures, *, audio: AudioFeatures | None = None) -> Pictures:
    """Open the video track of a file.

    Parameters
    ----------
    path : str or Path
    settings : VisionFeatures
        ``fps``: frames analysed per second; ``max_length``: what comes after so many frames is not analysed.
    audio : AudioFeatures, optional
        What its ``max_length`` leaves out of the audio is not analysed either.

    Raises
    ------
    ElisionError
        If the file cannot be read.
    """
    end = kept_until(path, audio=audio, vision=settings)
    return Pictures(lambda facts: read_frames(path, fps=settings.fps, end=end, facts=facts))


def extract(path: str | Path, settings: VisionFeatures, *, audio: AudioFeatures | None = None) -> Extracted:
    """Analyse the face in a video: see `read` and `of_pictures`."""
    return of_pictures(read(path, settings, audio=audio), settings)


def of_pictures(pictures: Pictures, settings: VisionFeatures, analyse: Analyse | None = None) -> Extracted:
    """Analyse the face in pictures.

    Parameters
    ----------
    pictures : Pictures
    settings : VisionFeatures
        ``fill``: what frames without the face are filled with. ``centre == "clip"``: subtract the mean of the clip
        (see ``centre``), of which filled frames are a part.
    analyse : callable, optional
        See `Backend`; by default that of the extractor.

    Returns
    -------
    extracted : Extracted
        Values [shape=(T, d), dtype=float32] have a row per frame, NaN where there is no face or another person's; no
        rows without a video track. Facts are those of `media.read_frames`, ``others``: the number of frames with the
        face of another person, and ``filled_frames``: the number of frames that were filled.

    Raises
    ------
    ElisionError
        If the video cannot be decoded, or the backend is not installed or lacks its weights.
    """
    facts: dict[str, Any] = {}
    times: list[float] = []

    def noted(frames: Frames) -> Iterator[np.ndarray]:
        for second, frame in frames:
            times.append(float(second))
            yield frame

    with closing(pictures.frames(facts)) as frames:
        features, places = (analyse or BACKENDS[settings.extractor].analyse)(noted(frames), settings)
    others = ~np.isnan(places).any(axis=1) & ~one_person(places)
    if others.any():
        features[others] = np.nan
        facts["others"] = int(others.sum())
    features, filled = fill(features, settings.fill, np.array(times))
    if filled:
        facts["filled_frames"] = filled
    if settings.centre == "clip":
        (features,) = centre([features], [0])
    return Extracted(features, np.array(times, np.float64), facts)


def one_person(places: np.ndarray) -> np.ndarray:
    """Tell in which frames the face is that of the person who is followed.

    A face belongs to the person whose last face was near and about as large; to a new one, if there is none. The first
    who reaches five frames is followed, or, if nobody has so many, the one with most.

    Parameters
    ----------
    places : np.ndarray [shape=(T, 3)]
        x and y of the middle of the face, and its size, in one unit; NaN where no face is seen.

    Returns
    -------
    followed : np.ndarray [shape=(T,), dtype=bool]
        False where no face is seen.

    Examples
    --------
    >>> left, right, none = (100, 90, 80), (300, 90, 80), (np.nan,) * 3
    >>> one_person(np.array([left] * 5 + [none, right, right, left])).astype(int)
    array([1, 1, 1, 1, 1, 0, 0, 0, 1])
    """
    people: list[tuple[np.ndarray, list[int]]] = []  # the last face of each, and all frames
    for number in np.flatnonzero(~np.isnan(places).any(axis=1)):
        face = places[number]
        for who, (last, frames) in enumerate(people):
            distance, sizes = np.hypot(*(face - last)[:2]), sorted((face[2], last[2]))
            if distance <= _FURTHER * sum(sizes) / 2 and sizes[1] <= _LARGER * sizes[0]:
                people[who] = (face, [*frames, number])
                break
        else:
            people.append((face, [number]))
    followed = np.zeros(len(places), bool)
    if people:
        stay = [frames for _, frames in people if len(frames) >= _STAYS]
        first = min(stay, key=lambda frames: frames[_STAYS - 1], default=None)
        followed[first or max((frames for _, frames in people), key=len)] = True
    return followed


def feature_names(settings: VisionFeatures) -> list[str]:
    """Return a name for each column."""
    return list(BACKENDS[settings.extractor].names)


def frame_rate(settings: VisionFeatures) -> float | None:
    """Return frames per second; None when every frame is analysed, at the rate of each video."""
    return settings.fps


def extractor(settings: VisionFeatures) -> str:
    """Return the name of the backend."""
    return settings.extractor


def version(settings: VisionFeatures) -> str:
    """Return the version of the backend and its weights."""
    return BACKENDS[settings.extractor].version()


def described(settings: VisionFeatures) -> dict[str, Any]:
    """Return what the header tells of the extractor: the settings that decide values."""
    return settings.described()


def centre(sequences: Iterable[np.ndarray], groups: Iterable[Hashable]) -> list[np.ndarray]:
    """Subtract from each sequence the mean of the observed frames of its group.

    Every column is centred, pose and gaze as well: what is left tells how a frame differs from the group's mean face,
    camera and posture. With a speaker's clips as the group, the individual neutral face goes; with a clip by itself,
    also all that stays the same through the clip, a lasting smile included.

    Parameters
    ----------
    sequences : iterable of np.ndarray [shape=(T, d), dtype=float32]
        NaN in the rows of frames without a face.
    groups : iterable of hashable
        Group of each sequence; one that is not known (None, NaN) makes its sequence a group by itself.

    Returns
    -------
    centred : list of np.ndarray [shape=(T, d), dtype=float32]
    """
    sequences = list(sequences)
    keys = [(number,) if pd.isna(group) else group for number, group in enumerate(groups)]
    members: dict[Hashable, list[np.ndarray]] = {}
    for sequence, key in zip(sequences, keys, strict=True):
        members.setdefault(key, []).append(sequence[~np.isnan(sequence).any(axis=1)])
    means = {}
    for key, observed in members.items():
        frames = np.concatenate(observed)
        means[key] = frames.mean(axis=0, dtype=np.float64) if len(frames) else np.zeros(frames.shape[1])
    return [(sequence - means[key]).astype(np.float32) for sequence, key in zip(sequences, keys, strict=True)]


def descriptor(meshes: np.ndarray, *, width: int, height: int) -> np.ndarray:
    """Describe head pose, gaze and expression from face meshes, as OpenFace 2.0 (Baltrušaitis et al., 2018).

    A similarity transform (Umeyama, 1991) of rigid points takes the canonical face model to each mesh, as MediaPipe's
    own face geometry does. Its rotation and translation are the pose; its inverse takes the mesh to the head frame,
    where everything else is measured, and which no motion of the head or camera changes. Axes: x to the right of the
    image (the subject's left), y down, z away from the camera. The unit iod is the distance of the outer corners of
    the eyes. Where the two sides of the face are measured, the mean stands.

    The values called AU-like rise with what the action unit of that number does, but are no intensities of action
    units: a neutral face is not 0 and differs from person to person (see ``centre``), and none was fitted to coded
    data.

    =================  =====================================================  ==========================  =====
    column             formula                                                landmarks (right/left)      unit
    =================  =====================================================  ==========================  =====
    pose_rx            R = Rz(rz) Ry(ry) Rx(rx); rx > 0: face turned down     rigid points                rad
    pose_ry            ry > 0: face turned to the left of the image           rigid points                rad
    pose_rz            rz > 0: head tilted clockwise in the image             rigid points                rad
    pose_tx, pose_ty   canonical model's origin from the middle of the image  rigid points                mm
    pose_tz            focal length / scale; weak perspective, focal length   rigid points                mm
                       = longer side of the image, head of canonical size
    gaze_left_x, _y    iris from the middle of the eye's corners, in the      473; 263, 362               half
                       axes of the line through them                                                      eye
    gaze_right_x, _y   the same, right eye                                    468; 33, 133                half
                                                                                                          eye
    gaze_angle_x, _y   arcsin(15 mm / 12 mm * mean of left and right)         as above                    rad
    AU01_like          y(inner eye corner) - y(inner brow)                    133/362; 55, 107/285, 336   iod
    AU02_like          y(outer eye corner) - y(outer brow)                    33/263; 70, 63/300, 293     iod
    AU04_like          - distance of the inner brows                          55, 107; 285, 336           iod
    AU05_like          y(eye corners) - y(upper lid)                          160, 159, 158/387, 386, 385 iod
    AU06_like          y(eye corners) - y(cheek)                              205/425                     iod
    AU07_like          y(eye corners) - y(lower lid)                          144, 145, 153/373, 374, 380 iod
    AU09_like          y(inner eye corner) - y(nose wing)                     133/362; 129/358            iod
    AU10_like          y(subnasale) - y(upper lip)                            2; 0                        iod
    AU12_like          - distance of lip corner and outer eye corner          61/291; 33/263              iod
    AU14_like          z(lip corner) - z(subnasale)                           61/291; 2                   iod
    AU15_like          y(lip corner) - y(subnasale)                           61/291; 2                   iod
    AU17_like          y(lower lip) - y(chin), so chin towards lip is up      17; 152                     iod
    AU20_like          x of lip corner beyond nose wing                       61/291; 129/358             iod
    AU23_like          - thickness of both lips / mouth_width                 0, 13, 14, 17; 61, 291      1
    AU25_like          y(lower lip, inner) - y(upper lip, inner)              14; 13                      iod
    AU26_like          y(chin) - y(subnasale)                                 152; 2                      iod
    AU45_like          - max(eye_open_left, eye_open_right): both eyes        lids and eye corners        1
    mouth_width        distance of the lip corners                            61; 291                     iod
    mouth_height       y(lower lip) - y(upper lip), outer                     17; 0                       iod
    corner_lift        y(middle of the inner lips) - y(lip corner)            13, 14; 61/291              iod
    eye_open_left      (y(lower lid) - y(upper lid)) / distance of corners    373.. - 387..; 263, 362     1
    eye_open_right     the same, right eye                                    144.. - 160..; 33, 133      1
    asymmetry          mean distance, in x and y, of a left point and the     brows, lids, cheeks, nose   iod
                       mirror image of its right one                          wings, eye and lip corners
    =================  =====================================================  ==========================  =====

    Parameters
    ----------
    meshes : np.ndarray [shape=(T, 478, 3)]
        Landmarks of MediaPipe's face mesh with irises: x in units of the image's width, y of its height, z of its
        width; NaN for a frame without a face.
    width, height : int
        Size of the image in pixels.

    Returns
    -------
    features : np.ndarray [shape=(T, 35), dtype=float32]
        Columns as in ``NAMES``; NaN for a frame without a face.
    """
    features = np.full((len(meshes), len(NAMES)), np.nan, np.float32)
    seen = ~np.isnan(meshes).any(axis=(1, 2))
    points = meshes[seen].astype(np.float64) * (width, height, width)
    scale, rotation, translation = _similarity(points[:, list(_RIGID)], np.array(list(_RIGID.values())))

    head = (points - translation[:, None]) @ rotation / scale[:, None, None]
    head /= np.linalg.norm(head[:, 263] - head[:, 33], axis=1)[:, None, None]

    centimetres = (translation - (width / 2, height / 2, 0)) / scale[:, None]
    centimetres[:, 2] = max(width, height) / scale
    pose = np.concatenate([Rotation.from_matrix(rotation).as_euler("xyz"), 10 * centimetres], axis=1)
    features[seen] = np.concatenate([pose, _gaze(head), _expression(head)], axis=1)
    return features


def pose(mesh: np.ndarray, *, width: int, height: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Fit MediaPipe's canonical face model to a mesh; see `descriptor`.

    Parameters
    ----------
    mesh : np.ndarray [shape=(478, 3)]
    width, height : int
        Of the image in pixels.

    Returns
    -------
    scale : float
        Pixels per centimetre of a face of canonical size.
    rotation : np.ndarray [shape=(3, 3)]
    translation : np.ndarray [shape=(3,)]
        Place of the model's origin, in pixels.
    """
    points = mesh[None, list(_RIGID)].astype(np.float64) * (width, height, width)
    scale, rotation, translation = _similarity(points, np.array(list(_RIGID.values())))
    return float(scale[0]), rotation[0], translation[0]


def _similarity(points: np.ndarray, model: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit points = scale * rotation @ model + translation by least squares (Umeyama, 1991): [T], [T, 3, 3], [T, 3]."""
    mean, model_mean = points.mean(axis=1), model.mean(axis=0)
    centred, model_centred = points - mean[:, None], model - model_mean
    left, singular, right = np.linalg.svd(centred.transpose(0, 2, 1) @ model_centred)
    signs = np.ones_like(singular)
    signs[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[:, None]) @ right
    scale = (singular * signs).sum(axis=1) / (model_centred**2).sum()
    return scale, rotation, mean - scale[:, None] * (rotation @ model_mean)


def _gaze(head: np.ndarray) -> np.ndarray:
    """Gaze columns [T, 6] of points in the head frame."""
    sides = []
    for start, end, iris in ((362, 263, 473), (33, 133, 468)):
        half = (head[:, end, :2] - head[:, start, :2]) / 2
        x, y = (head[:, iris, :2] - head[:, start, :2] - half).T
        length = (half**2).sum(axis=1)
        sides += [(x * half[:, 0] + y * half[:, 1]) / length, (y * half[:, 0] - x * half[:, 1]) / length]
    angles = [np.arcsin(np.clip(_HALF_EYE_PER_EYEBALL * (sides[k] + sides[k + 2]) / 2, -1, 1)) for k in (0, 1)]
    return np.stack([*sides, *angles], axis=1)


def _expression(head: np.ndarray) -> np.ndarray:
    """AU-like and geometry columns [T, 23] of points in the head frame."""
    x, y, z = head[:, :, 0], head[:, :, 1], head[:, :, 2]

    def mean(axis: np.ndarray, landmarks: tuple) -> np.ndarray:
        return axis[:, np.ravel(landmarks)].mean(axis=1)

    def distance(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(head[:, a] - head[:, b], axis=1)

    def openness(side: int) -> np.ndarray:
        return (mean(y, _LID_LOWER[side]) - mean(y, _LID_UPPER[side])) / distance(_EYE_OUTER[side], _EYE_INNER[side])

    eye = mean(y, (_EYE_OUTER, _EYE_INNER))
    corner = mean(y, _LIP_CORNER)
    mouth_width = distance(*_LIP_CORNER)
    lip_gap = y[:, _LIP_LOWER_INNER] - y[:, _LIP_UPPER_INNER]
    mouth_height = y[:, _LIP_LOWER] - y[:, _LIP_UPPER]
    open_right, open_left = openness(0), openness(1)
    brows = head[:, _BROW_INNER[1]].mean(axis=1) - head[:, _BROW_INNER[0]].mean(axis=1)
    mirrored = head[:, _MIRRORED[:, 1], :2] - head[:, _MIRRORED[:, 0], :2] * (-1, 1)
    columns = {
        "AU01_like": mean(y, _EYE_INNER) - mean(y, _BROW_INNER),
        "AU02_like": mean(y, _EYE_OUTER) - mean(y, _BROW_OUTER),
        "AU04_like": -np.linalg.norm(brows, axis=1),
        "AU05_like": eye - mean(y, _LID_UPPER),
        "AU06_like": eye - mean(y, _CHEEK),
        "AU07_like": eye - mean(y, _LID_LOWER),
        "AU09_like": mean(y, _EYE_INNER) - mean(y, _NOSE_WING),
        "AU10_like": y[:, _SUBNASALE] - y[:, _LIP_UPPER],
        "AU12_like": -(distance(_LIP_CORNER[0], _EYE_OUTER[0]) + distance(_LIP_CORNER[1], _EYE_OUTER[1])) / 2,
        "AU14_like": mean(z, _LIP_CORNER) - z[:, _SUBNASALE],
        "AU15_like": corner - y[:, _SUBNASALE],
        "AU17_like": y[:, _LIP_LOWER] - y[:, _CHIN],
        "AU20_like": (x[:, _LIP_CORNER[1]] - x[:, _NOSE_WING[1]] + x[:, _NOSE_WING[0]] - x[:, _LIP_CORNER[0]]) / 2,
        "AU23_like": -(mouth_height - lip_gap) / mouth_width,
        "AU25_like": lip_gap,
        "AU26_like": y[:, _CHIN] - y[:, _SUBNASALE],
        "AU45_like": -np.maximum(open_left, open_right),
        "mouth_width": mouth_width,
        "mouth_height": mouth_height,
        "corner_lift": mean(y, (_LIP_UPPER_INNER, _LIP_LOWER_INNER)) - corner,
        "eye_open_left": open_left,
        "eye_open_right": open_right,
        "asymmetry": np.linalg.norm(mirrored, axis=2).mean(axis=1),
    }
    return np.stack([columns[name] for name in NAMES[12:]], axis=1)


def _mediapipe(frames: Iterable[np.ndarray], settings: VisionFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Track one face through the frames with MediaPipe's face mesh and describe it."""
    track = Track()
    for _ in track.follow(frames):
        pass
    return descriptor(track.meshes(), width=track.width, height=track.height), track.places()


class Track:
    """A face that is followed through the frames of a video with MediaPipe's face mesh."""

    def __init__(self) -> None:
        self.width = self.height = 1
        self._meshes: list[np.ndarray] = []
        self._magnified: list[int] = []  # frames with a small face

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Pass frames on, each with the landmarks of its face [478, 3] as in `descriptor`, or None without one."""
        absent = np.full((478, 3), np.nan, np.float32)
        # The tracker carries state from frame to frame: each video gets a graph of its own.
        with ExitStack() as stack:
            graph, small = stack.enter_context(_face_mesh()), _SmallFaces(stack)
            for frame in frames:
                self.height, self.width = frame.shape[:2]
                mesh = _mesh(graph, frame)
                if mesh is None and (mesh := small.mesh(frame)) is not None:
                    self._magnified.append(len(self._meshes))
                self._meshes.append(absent if mesh is None else mesh)
                yield frame, mesh

    def meshes(self) -> np.ndarray:
        """Return the landmarks in all frames [T, 478, 3]; NaN without a face, and for a false alarm."""
        meshes = np.reshape(self._meshes, (-1, 478, 3))
        if len(self._magnified) < min(_STAYS, len(meshes)):
            meshes[self._magnified] = np.nan
        return meshes

    def places(self) -> np.ndarray:
        """Return the places of the faces [T, 3]; see `Backend`."""
        pixels = self.meshes()[:, :, :2].astype(np.float64) * (self.width, self.height)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        return np.column_stack([(low + high) / 2, (high - low).max(axis=1)])


def _mesh(graph, frame: np.ndarray) -> np.ndarray | None:  # noqa: ANN001
    """Return the landmarks of the face that a graph sees [478, 3]; None without one."""
    faces = graph.process(frame).multi_face_landmarks
    return np.array([(point.x, point.y, point.z) for point in faces[0].landmark], np.float32) if faces else None


class _SmallFaces:
    """Finds a face that is too small for the face mesh, and follows it through the frames.

    The detector of the face mesh sees faces of a tenth of the frame and more. Here, MediaPipe's detector for distant
    faces looks at squares of the frame that overlap by half, then its other detector at squares of half the side, and
    the face mesh at a crop around the best face. While nothing is found, searches become rare.

    Parameters
    ----------
    stack : ExitStack
        Closes the graphs.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.graphs: tuple | None = None
        self.last: tuple[float, float, float] | None = None  # x and y of the middle of the face, and its size
        self.rest = self.wait = 0

    def mesh(self, frame: np.ndarray) -> np.ndarray | None:
        """Return the landmarks of a small face [478, 3], as those of the whole frame; None if none is found."""
        if self.graphs is None:
            graphs = (_detector(far=True), _detector(far=False), _face_mesh(still=True))
            self.graphs = tuple(self.stack.enter_context(graph) for graph in graphs)
        if self.last is not None and (found := self._look(frame, self.last)) is not None:
            return found
        self.last, self.wait = None, self.wait - 1
        if self.wait > 0:
            return None
        place = self._search(frame)
        found = None if place is None else self._look(frame, place)
        self.rest = 0 if found is not None else min(max(1, 2 * self.rest), _REST)
        self.wait = self.rest
        return found

    def _search(self, frame: np.ndarray) -> tuple[float, float, float] | None:
        """Return the place of the face that is most certain."""
        height, width = frame.shape[:2]
        for graph, side in zip(self.graphs, (min(height, width), min(height, width) // 2), strict=False):
            found = []
            for x, y in product(_corners(width, side), _corners(height, side)):
                tile = np.ascontiguousarray(frame[y : y + side, x : x + side])
                for face in graph.process(tile).detections or ():
                    box = face.location_data.relative_bounding_box
                    middle = (x + (box.xmin + box.width / 2) * side, y + (box.ymin + box.height / 2) * side)
                    found.append((face.score[0], (*middle, max(box.width, box.height) * side)))
            if found:
                return max(found, key=itemgetter(0))[1]
        return None

    def _look(self, frame: np.ndarray, place: tuple[float, float, float]) -> np.ndarray | None:
        """Fit the face mesh in a crop around a place."""
        height, width = frame.shape[:2]
        side = round(min(max(_CROP * place[2], 48), height, width))
        x, y = (
            int(np.clip(round(middle - side / 2), 0, whole - side))
            for middle, whole in zip(place, (width, height), strict=False)
        )
        mesh = _mesh(self.graphs[-1], np.ascontiguousarray(frame[y : y + side, x : x + side]))
        if mesh is None:
            return None
        low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
        self.last = (*(np.array([x, y]) + side * (low + high) / 2), side * float((high - low).max()))
        mesh = mesh * side + (x, y, 0)
        return (mesh / (width, height, width)).astype(np.float32)


def _corners(whole: int, side: int) -> list[int]:
    """Return where squares begin that cover a length and overlap by half or more."""
    return np.linspace(0, whole - side, 1 + -(-2 * (whole - side) // side)).astype(int).tolist()


def _mediapipe_version() -> str:
    try:
        return metadata.version("mediapipe")
    except metadata.PackageNotFoundError as error:
        raise ElisionError(_NO_MEDIAPIPE.format(error="it is not installed")) from error


_NO_MEDIAPIPE = (
    "vision features need mediapipe with its face mesh ({error}): pip install --no-deps mediapipe==0.10.14, "
    "or set features.vision.extractor: pyfeat in params.yaml"
)


@contextmanager
def _face_mesh(*, still: bool = False) -> Iterator:
    """Start a face mesh, which follows a face through a video or looks at each picture anew, and close it."""
    with _started("FaceMesh", static_image_mode=still, refine_landmarks=True, max_num_faces=1) as graph:
        yield graph


@contextmanager
def _detector(*, far: bool) -> Iterator:
    """Start a detector of faces in pictures, for distant or for near ones, and close it."""
    options = {"model_selection": int(far), "min_detection_confidence": _CERTAIN}
    with _started("FaceDetection", **options) as graph:
        yield graph


@contextmanager
def _started(name: str, **options: object) -> Iterator:
    """Start a graph and close it; what it says of its own workings is kept off stderr, as no setting of it does."""
    try:  # slow to import, absent where pyfeat is used
        from mediapipe.python.solutions import face_detection, face_mesh
    except ImportError as error:
        raise ElisionError(_NO_MEDIAPIPE.format(error=error)) from error
    solution = {"FaceMesh": face_mesh.FaceMesh, "FaceDetection": face_detection.FaceDetection}[name]
    with _muted_stderr():
        graph = solution(**options)
        graph.process(np.zeros((16, 16, 3), np.uint8))  # the last lines come with the first frame
    with closing(graph), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype", category=UserWarning)
        yield graph


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 nowhere."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


BACKENDS = {
    "mediapipe": Backend(NAMES, _mediapipe_version, _mediapipe),
    "pyfeat": Backend(pyfeat.NAMES, pyfeat.version, pyfeat.analyse),
}
