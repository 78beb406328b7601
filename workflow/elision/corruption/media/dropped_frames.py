"""Bursts in which no picture arrives."""

from collections.abc import Iterable, Iterator

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import Bursts, Frame, share


class DroppedFrames(PictureKind):
    """Frames within a burst are dropped: they are not there, as if the camera had not taken them."""

    name = "dropped_frames"
    levels = (10, 20, 40, 60, 80)
    unit = "%"
    caption = "Dropped frames"
    level = "share of time"
    about = "Frames are dropped in bursts."
    measured = {"dropped": "share of frames that are dropped"}

    class Options(Bursts):
        """When the bursts are."""

    options: Options

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        count = dropped = 0
        for second, frame in frames:
            count += 1
            if self.options.hold(second, share=self.level_of(severity) / 100, name=self.name, clip=clip):
                dropped += 1
            else:
                yield second, frame
        measured["dropped"] = share(dropped, count)
