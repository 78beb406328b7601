"""A camera that takes few pictures per second."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import floor, nan

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import Frame, share

_EARLY = Fraction(1, 500)  # seconds; Matroska rounds times to milliseconds


class LowFrameRate(PictureKind):
    """Of the frames from one multiple of 1 / rate to the next, the first is kept. Other frames are dropped, not held.

    Multiples are counted from the first frame. A frame may be 2 ms early. A clip of fewer frames per second is kept as
    it is. The kind `frozen_frames` holds pictures.
    """

    name = "low_frame_rate"
    levels = (15, 10, 6, 4, 2)
    unit = "frames per second"
    caption = "Low frame rate"
    level = "frame rate"
    about = "Some frames per second are kept, evenly in time; other frames are dropped."
    measured = {"dropped": "share of frames that are dropped", "rate": "frames per second that are kept"}

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        rate = Fraction(self.level_of(severity))
        count, seconds = 0, []
        start, last = Fraction(0), None
        for second, frame in frames:
            start = second if not count else start
            count += 1
            tick = floor((second - start + _EARLY) * rate)
            if tick != last:
                last = tick
                seconds.append(second)
                yield second, frame
        span = seconds[-1] - seconds[0] if seconds else 0
        measured |= {
            "dropped": share(count - len(seconds), count),
            "rate": float((len(seconds) - 1) / span) if span else nan,
        }
