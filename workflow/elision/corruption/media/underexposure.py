"""Pictures that were taken with too little light."""

from collections.abc import Iterable, Iterator
from math import log2, nan

import numpy as np

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import LIGHT, PSNR, Error, Frame, srgb


class Underexposure(PictureKind):
    """Linear light is halved with each stop: values are turned to linear light, as sRGB tells, and back."""

    name = "underexposure"
    levels = (-1, -1.75, -2.5, -3.25, -4)
    unit = "stops"
    caption = "Underexposure"
    level = "exposure"
    about = "Each picture is darker by some stops: linear light is halved with each stop."
    measured = {"stops": "realised exposure: binary logarithm of the ratio of linear light, in stops", "psnr": PSNR}

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        dark = np.rint(255 * srgb(LIGHT * 2 ** self.level_of(severity))).astype(np.uint8)
        error, pixels = Error(), np.zeros(256)
        for second, frame in frames:
            pixels += np.bincount(frame.ravel(), minlength=256)
            error.add(frame, dark[frame])
            yield second, dark[frame]
        before, after = pixels @ LIGHT, pixels @ LIGHT[dark]
        measured |= {"stops": log2(after / before) if before and after else nan, "psnr": error.psnr()}
