"""Part of the face is hidden, as by a hand, a microphone or a mask."""

from collections.abc import Iterable, Iterator
from math import ceil

import numpy as np

from elision.corruption.medium import Box, Clip, PictureKind
from elision.corruption.pictures import Frame, share

_GREY = 128
_STEPS = 2**20  # of the order in which pixels are hidden


class Occlusion(PictureKind):
    """A grey rectangle hides a share of the face box of the clean clip, as far as the box lies within the picture.

    The rectangle has the shape of the box and keeps its place in it through the clip; the place is drawn for the clip.
    A larger rectangle holds the smaller one, because both divide what is left of the box in the same proportion. Pixels
    are hidden in the order in which the rectangle reaches them as it grows, so that the share is exact to a pixel; its
    edges may be ragged by one.

    Where the clean clip has no face in a frame, the box of the last frame before it that had one counts; before the
    first face nothing is hidden.
    """

    name = "occlusion"
    levels = (10, 20, 30, 45, 60)
    unit = "%"
    caption = "Occluded face"
    level = "hidden share of the face box"
    about = "A grey rectangle hides part of the face box that was found in the clean clip."
    measured = {
        "hidden": "hidden share of the face box within the picture, mean of the frames with a box",
        "held": "share of frames without a face, which have the box of an earlier frame",
        "bare": "share of frames without a face so far, in which nothing is hidden",
    }

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        place = tuple(clip.random(self.name).random(2).tolist())
        count = held = bare = 0
        hidden = 0.0
        last, mask = None, np.zeros((0, 0), bool)
        for second, frame in frames:
            count += 1
            box = clip.face(second)
            pixels = None if box is None else within(box, *frame.shape[:2])
            held += pixels is None and last is not None
            pixels = pixels or last
            if pixels is None:
                bare += 1
                yield second, frame
                continue
            if pixels != last:
                last, mask = pixels, occluder(pixels, self.level_of(severity) / 100, place)
            left, top, right, bottom = pixels
            occluded = frame.copy()
            occluded[top:bottom, left:right][mask] = _GREY
            hidden += mask.mean()
            yield second, occluded
        boxes = count - bare
        measured |= {
            "hidden": hidden / boxes if boxes else 0.0,
            "held": share(held, count),
            "bare": share(bare, count),
        }


def within(box: Box, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return the pixels of a box that lie within the picture: left, top, right, bottom; None where there are none."""
    # A pixel lies within where its middle does.
    left, right = (min(max(ceil(side * width - 0.5), 0), width) for side in box[::2])
    top, bottom = (min(max(ceil(side * height - 0.5), 0), height) for side in box[1::2])
    return (left, top, right, bottom) if left < right and top < bottom else None


def occluder(pixels: tuple[int, int, int, int], hidden: float, place: tuple[float, ...]) -> np.ndarray:
    """Return which pixels of a box are hidden.

    Parameters
    ----------
    pixels : tuple of int
        Left, top, right and bottom of the box.
    hidden : float in [0, 1]
        Share of the box.
    place : tuple of two float in [0, 1]
        Share of the free width to the left of the rectangle, and of the free height above it.

    Returns
    -------
    mask : np.ndarray [shape=(bottom - top, right - left), dtype=bool]

    Examples
    --------
    >>> occluder((0, 0, 4, 3), 1 / 6, (0.0, 0.0)).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])
    """
    left, top, right, bottom = pixels
    # How large the rectangle is, as a share of the sides of the box, when it reaches a column and a row.
    columns, rows = (
        np.maximum(1 - at / max(free, 1e-9), (at - free) / max(1 - free, 1e-9))
        for at, free in zip(
            ((np.arange(length) + 0.5) / length for length in (right - left, bottom - top)), place, strict=True
        )
    )
    order = np.maximum(columns, rows[:, None])
    # No two pixels come at once, so that any number of them is the beginning of any larger number.
    unique = np.floor(order * _STEPS).astype(np.int64) * order.size + np.arange(order.size).reshape(order.shape)
    number = round(hidden * order.size)
    return unique <= np.partition(unique, number - 1, axis=None)[number - 1] if number else np.zeros(order.shape, bool)
