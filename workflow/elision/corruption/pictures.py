"""What several kinds of corruption of pictures share: how far they are from the clean ones, bursts, and H.264."""

from fractions import Fraction
from math import floor, log10, nan, sqrt

import av
import numpy as np
from pydantic import BaseModel, Field

from elision.corruption.medium import Clip
from elision.errors import ElisionError

Frame = tuple[Fraction, np.ndarray]
PSNR = "peak signal-to-noise ratio against the clean pictures, in dB; 100 where nothing differs"

_SAME = 100.0  # dB
_SQUARES = np.arange(256, dtype=np.int64) ** 2
_TIME_BASE = Fraction(1, 25)
_LEAST = 16  # pixels; the side of a macroblock


class Error:
    """The squared error of pictures, summed over a clip."""

    def __init__(self) -> None:
        self.squares = self.values = 0

    def add(self, clean: np.ndarray, shown: np.ndarray) -> None:
        """Add a picture, and the one that is shown in its place [same shape, dtype=uint8]."""
        distances = np.bincount((np.maximum(clean, shown) - np.minimum(clean, shown)).ravel(), minlength=256)
        self.squares += int(distances @ _SQUARES)
        self.values += clean.size

    def root_mean_square(self) -> float:
        """Return the root of the mean squared error of all pictures, in levels of 255; NaN without any picture."""
        return sqrt(share(self.squares, self.values))

    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio of all pictures in dB, at most 100; NaN without any picture."""
        if not self.values:
            return nan
        return min(_SAME, 10 * log10(255**2 * self.values / self.squares)) if self.squares else _SAME


def share(count: int, whole: int) -> float:
    """Return a count as a share of a whole; NaN where there is nothing."""
    return count / whole if whole else nan


def linear(values: np.ndarray) -> np.ndarray:
    """Turn sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb(light: np.ndarray) -> np.ndarray:
    """Turn linear light in [0, 1] to sRGB values (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


LIGHT = linear(np.arange(256) / 255)  # of each value of a pixel


class Bursts(BaseModel, extra="forbid"):
    """Bursts of frames that are lost: one in each period, at a place that is drawn.

    A burst is as long as the share says, and lies within its period. A longer burst holds the shorter one, because both
    divide what is left of the period in the same proportion.
    """

    period: float = Field(2.0, gt=0, allow_inf_nan=False, description="seconds; one burst lies within each such period")

    def hold(self, second: Fraction, *, share: float, name: str, clip: Clip) -> bool:
        """Tell whether a burst holds a second of a clip.

        Parameters
        ----------
        second : Fraction
        share : float in [0, 1]
            Part of each period that the burst takes.
        name : str
            Name of the kind, which sets draws apart.
        clip : Clip
        """
        period = Fraction(self.period)
        number = floor(second / period)
        start = clip.random(name, number).random() * (1 - share)
        return start <= float(second / period - number) < start + share


def encoder(height: int, width: int, options: dict[str, str]) -> av.VideoCodecContext:
    """Start an H.264 encoder (libx264) that gives the same packets every time: it has one thread.

    Raises
    ------
    ElisionError
        If FFmpeg was built without libx264.
    """
    try:
        context = av.CodecContext.create("libx264", "w")
    except av.codec.codec.UnknownCodecError as error:
        raise ElisionError(
            "the FFmpeg of PyAV cannot encode H.264, which kinds of corruption.media need: it has no libx264; install "
            "the PyAV of PyPI with: pip install av"
        ) from error
    # Pixels of colour are half as many as those of light: sides are even.
    context.height, context.width = (max(_LEAST, side + side % 2) for side in (height, width))
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", _TIME_BASE, 1 / _TIME_BASE
    context.thread_count, context.options = 1, options
    return context


def decoder(options: dict[str, str] | None = None) -> av.VideoCodecContext:
    """Start a decoder of H.264 that has one thread."""
    context = av.CodecContext.create("h264", "r")
    context.thread_count, context.options = 1, options or {}
    return context


def encode(context: av.VideoCodecContext, number: int, picture: np.ndarray) -> list[av.Packet]:
    """Encode frame ``number``; sides that are odd or too short repeat their last pixels, which `shown` takes away."""
    below, right = context.height - picture.shape[0], context.width - picture.shape[1]
    padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else picture
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
    # A frame's time stamp is its number: the encoder takes the video to have 25 frames per second.
    frame.pts, frame.time_base = number, _TIME_BASE
    return context.encode(frame)


def shown(frame: av.VideoFrame, height: int, width: int) -> np.ndarray:
    """Return a decoded frame as RGB [shape=(height, width, 3), dtype=uint8]."""
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24")[:height, :width])
