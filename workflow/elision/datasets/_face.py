"""A talking face: the astronaut of scikit-image (NASA, public domain), moved by warping its pixels.

Each action (smile, jaw, brow, lid) is a fixed field of displacements, a sum of Gaussian bumps at facial landmarks; a
frame is the photograph seen through the weighted sum of these fields, and then moved as a whole (head motion).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIZE = 256  # pixels, width and height of a frame

# Bumps (x, y, width, height, dx, dy) in pixels of the 512 x 512 photograph: centre, standard deviations, displacement
# at amount 1. The centres are landmarks that MediaPipe Face Mesh 0.10.14 (static_image_mode, refine_landmarks) finds in
# skimage.data.astronaut(), rounded; their mesh numbers follow. Widths and displacements were set by eye.
_ACTIONS = {
    "smile": (
        (202, 139, 9, 9, -3, -8),  # 61, corner of the mouth
        (245, 141, 9, 9, 3, -8),  # 291
    ),
    "jaw": (
        (223, 155, 18, 8, 0, 6),  # 17, lower lip
        (221, 177, 24, 12, 0, 5),  # 152, chin
    ),
    "brow": (
        (216, 92, 9, 7, 0, -6),  # 55 and 107, inner end
        (235, 94, 9, 7, 0, -6),  # 285 and 336
        (193, 89, 9, 7, 0, -3),  # 63 and 105, outer half
        (256, 93, 9, 7, 0, -3),  # 293 and 334
    ),
    "lid": (
        (203, 100, 9, 5, 0, 7),  # 159, upper lid
        (247, 102, 9, 5, 0, 7),  # 386
    ),
}
_REST = {"smile": -0.5, "jaw": -0.7, "brow": 0.0, "lid": 0.0}  # the photograph smiles; this does not
_HEAD = (slice(0, 272), slice(88, 360))  # rows and columns of the photograph with the head in them
_FACE = (slice(64, 216), slice(58, 214))  # rows and columns of the head that the actions reach
_CENTRE = (136, 120)  # x and y of the middle of the face in the head


@dataclass(frozen=True)
class Look:
    """What a speaker's picture has of its own.

    Attributes
    ----------
    scale : float
        Magnification of the photograph.
    tint : np.ndarray [shape=(3,)]
        Gains of red, green and blue.
    flip : bool
        Mirror the picture.
    """

    scale: float
    tint: np.ndarray
    flip: bool


@dataclass(frozen=True)
class Motion:
    """What the face does in each of T frames.

    Attributes
    ----------
    smile : np.ndarray [shape=(T,)]
        -1 corners of the mouth down, 0 at rest, 1 up.
    jaw : np.ndarray [shape=(T,)]
        0 closed, 1 open.
    brow : np.ndarray [shape=(T,)]
        -1 frowning, 0 at rest, 1 raised.
    lid : np.ndarray [shape=(T,)]
        0 open, 1 closed.
    roll : np.ndarray [shape=(T,)]
        Degrees, counterclockwise.
    shift : np.ndarray [shape=(T, 2)]
        Pixels to the right and down.
    """

    smile: np.ndarray
    jaw: np.ndarray
    brow: np.ndarray
    lid: np.ndarray
    roll: np.ndarray
    shift: np.ndarray


def render(look: Look, motion: Motion) -> Iterator[np.ndarray]:
    """Draw the frames.

    Yields
    ------
    frame : np.ndarray [shape=(SIZE, SIZE, 3), dtype=uint8]
        RGB.
    """
    import cv2
    from skimage.data import astronaut

    head = np.clip(astronaut()[_HEAD] * look.tint, 0, 255).astype(np.uint8)
    pixels, fields = _fields()
    for i, (roll, shift) in enumerate(zip(motion.roll, motion.shift, strict=True)):
        moved = sum(np.float32(_REST[action] + getattr(motion, action)[i]) * field for action, field in fields.items())
        picture = head.copy()
        picture[_FACE] = cv2.remap(head, pixels - moved, None, cv2.INTER_LINEAR)
        pose = cv2.getRotationMatrix2D(_CENTRE, float(roll), look.scale)
        pose[:, 2] += SIZE / 2 - np.array(_CENTRE) + shift
        frame = cv2.warpAffine(picture, pose, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        yield cv2.flip(frame, 1) if look.flip else frame


def _fields() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the coordinates in the head of the face's pixels, and what each action adds at amount 1 [H, W, 2]."""
    rows, columns = (np.arange(part.start, part.stop) for part in _FACE)
    fields = {}
    for action, bumps in _ACTIONS.items():
        fields[action] = np.zeros((len(rows), len(columns), 2), np.float32)
        for x, y, width, height, dx, dy in bumps:
            across = np.exp(-((columns + _HEAD[1].start - x) ** 2) / (2 * width**2))
            down = np.exp(-((rows + _HEAD[0].start - y) ** 2) / (2 * height**2))
            fields[action] += np.outer(down, across)[..., None] * (dx, dy)
    return np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float32), fields
