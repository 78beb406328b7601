"""Where the face of a clip is: the box of the person whom the vision features follow."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np

from elision.features.media import kept_until, read_frames
from elision.features.vision import BACKENDS, one_person
from elision.settings.params import AudioFeatures, VisionFeatures

Box = tuple[float, float, float, float]


def face_boxes(
    path: str | Path, settings: VisionFeatures, *, audio: AudioFeatures | None = None
) -> Callable[[Fraction], Box | None]:
    """Find the face in a clip, as `vision.extract` does, and return where it is at a second.

    The backend runs over the clip once, with the frame rate and the limits of the features.

    Parameters
    ----------
    path : str or Path
    settings : VisionFeatures
    audio : AudioFeatures, optional
        What its ``max_length`` leaves out of the audio is not analysed either.

    Returns
    -------
    face : callable
        From a second of the file to the box in the analysed frame nearest in time (of two as near, the earlier), as
        ``(left, top, right, bottom)`` in shares of the width and the height. The box is a square around the face, whose
        side is the longer side of the face. The box may reach beyond the picture. None where that frame has no face, or
        another person's, and where the file has no video track.

    Raises
    ------
    ElisionError
        If the video cannot be decoded, or the backend is not installed or lacks its weights.
    """
    times: list[Fraction] = []
    height = width = 1

    def noted() -> Iterator[np.ndarray]:
        nonlocal height, width
        for second, frame in frames:
            times.append(second)
            height, width = frame.shape[:2]
            yield frame

    end = kept_until(path, audio=audio, vision=settings)
    with closing(read_frames(path, fps=settings.fps, end=end)) as frames:
        _, places = BACKENDS[settings.faces].analyse(noted(), settings)
    x, y, side = places.T
    boxes = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], axis=1) / (width, height, width, height)
    followed = one_person(places)

    def face(second: Fraction) -> Box | None:
        if not times:
            return None
        after = min(bisect_left(times, second), len(times) - 1)
        before = max(after - 1, 0)
        number = before if second - times[before] <= times[after] - second else after
        return tuple(boxes[number].tolist()) if followed[number] else None

    return face
