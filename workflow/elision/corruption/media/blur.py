"""Gaussian blur of the pictures: a lens out of focus."""

from collections.abc import Iterable, Iterator
from math import nan

import numpy as np
from scipy.ndimage import gaussian_filter

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import PSNR, Error, Frame


class Blur(PictureKind):
    """Each picture is convolved with a Gaussian, cut off at three standard deviations; edges repeat.

    The standard deviation is a share of the shorter side, so that a severity means the same at every resolution.
    """

    name = "blur"
    levels = (0.25, 0.5, 1, 2, 4)
    unit = "%"
    caption = "Gaussian blur"
    level = "standard deviation, of the picture's shorter side"
    about = "A Gaussian blurs each picture; its width is a share of the picture's shorter side."
    measured = {"sigma": "standard deviation of the Gaussian, in pixels", "psnr": PSNR}

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        error, sigma = Error(), nan
        for second, frame in frames:
            sigma = self.level_of(severity) / 100 * min(frame.shape[:2])
            light = gaussian_filter(frame, (sigma, sigma, 0), output=np.float32, mode="nearest", truncate=3)
            blurred = np.rint(light).astype(np.uint8)
            error.add(frame, blurred)
            yield second, blurred
        measured |= {"sigma": sigma, "psnr": error.psnr()}
