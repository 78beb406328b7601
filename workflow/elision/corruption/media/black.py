"""Bursts in which the picture is black, up to the whole clip: a camera that is covered or switched off."""

from collections.abc import Iterable, Iterator

import numpy as np

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import Bursts, Frame, share


class Black(PictureKind):
    """Within a burst, all pixels are black. At the highest severity, the whole clip is."""

    name = "black"
    levels = (20, 40, 60, 80, 100)
    unit = "%"
    caption = "Black picture"
    level = "share of time"
    about = "The picture is black in bursts; at severity 5 the whole clip is black."
    measured = {"black": "share of frames that are black"}

    class Options(Bursts):
        """When the bursts are."""

    options: Options

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        count = black = 0
        for second, frame in frames:
            count += 1
            burst = self.options.hold(second, share=self.level_of(severity) / 100, name=self.name, clip=clip)
            black += burst
            yield second, np.zeros_like(frame) if burst else frame
        measured["black"] = share(black, count)
