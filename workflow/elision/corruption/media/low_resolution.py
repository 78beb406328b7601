"""Pictures of a low resolution, shown at the size of the clean ones."""

from collections.abc import Iterable, Iterator
from math import nan

import av
import numpy as np

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import PSNR, Error, Frame


class LowResolution(PictureKind):
    """Each side is divided by the factor (means over areas), and stretched again (bicubic), by FFmpeg's swscale."""

    name = "low_resolution"
    levels = (2, 4, 8, 12, 16)
    caption = "Low resolution"
    level = "factor by which each side is shorter"
    about = "Each picture is scaled down by a factor and scaled up again."
    measured = {"height": "height of the small pictures, in pixels", "psnr": PSNR}

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        error, low = Error(), nan
        for second, frame in frames:
            height, width = frame.shape[:2]
            low, narrow = (max(1, round(side / self.level_of(severity))) for side in (height, width))
            small = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                narrow, low, "rgb24", interpolation="AREA"
            )
            large = np.ascontiguousarray(
                small.reformat(width, height, "rgb24", interpolation="BICUBIC").to_ndarray(format="rgb24")
            )
            error.add(frame, large)
            yield second, large
        measured |= {"height": low, "psnr": error.psnr()}
