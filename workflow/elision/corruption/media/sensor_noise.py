"""Noise of a camera's sensor in little light."""

from collections.abc import Iterable, Iterator

import numpy as np

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import LIGHT, PSNR, Error, Frame, srgb

_READ = 2.0  # electrons: noise of reading a pixel, as in today's small sensors
_FINE = 2**16 - 1


class SensorNoise(PictureKind):
    """Shot noise and read noise, in linear light.

    A pixel whose linear light is x, a share of white, has collected N x electrons where white is N. Shot noise has the
    variance N x (Poisson, here as a normal distribution), read noise that of 2 electrons. In shares of white, the
    standard deviation is ``sqrt(x / N + (2 / N)^2)``. It scales one field of normal numbers, which belongs to the clip
    and to the time of the frame, and not to the severity.
    """

    name = "sensor_noise"
    levels = (1000, 300, 100, 30, 10)
    unit = "electrons"
    caption = "Sensor noise"
    level = "electrons of a white pixel"
    about = "Each pixel has the shot noise and the read noise of a sensor that collected few electrons."
    measured = {"noise": "root mean square of what the noise changed, in levels of 255", "psnr": PSNR}

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        white, error = self.level_of(severity), Error()
        light = LIGHT.astype(np.float32)
        deviation = np.sqrt(LIGHT / white + (_READ / white) ** 2).astype(np.float32)
        values = np.rint(255 * srgb(np.arange(_FINE + 1) / _FINE)).astype(np.uint8)
        for second, frame in frames:
            field = clip.random(self.name, str(second)).standard_normal(frame.shape, np.float32)
            noisy = light[frame] + deviation[frame] * field
            shown = values[np.rint(_FINE * np.clip(noisy, 0, 1)).astype(np.uint16)]
            error.add(frame, shown)
            yield second, shown
        measured |= {"noise": error.root_mean_square(), "psnr": error.psnr()}
