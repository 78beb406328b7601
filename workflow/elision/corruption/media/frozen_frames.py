"""Bursts in which the picture stands still."""

from collections.abc import Iterable, Iterator

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import PSNR, Bursts, Error, Frame, share


class FrozenFrames(PictureKind):
    """Within a burst, the last picture before it is shown at the times of all frames.

    A clip that begins within a burst shows its first picture, which is not frozen.
    """

    name = "frozen_frames"
    levels = (10, 20, 40, 60, 80)
    unit = "%"
    caption = "Frozen frames"
    level = "share of time"
    about = "The picture stands still in bursts: the last picture before a burst is shown until its end."
    measured = {"frozen": "share of frames that show an earlier picture", "psnr": PSNR}

    class Options(Bursts):
        """When the bursts are."""

    options: Options

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        error, count, frozen, last = Error(), 0, 0, None
        for second, frame in frames:
            count += 1
            burst = self.options.hold(second, share=self.level_of(severity) / 100, name=self.name, clip=clip)
            if burst and last is not None:
                frozen += 1
            else:
                last = frame
            error.add(frame, last)
            yield second, last
        measured |= {"frozen": share(frozen, count), "psnr": error.psnr()}
