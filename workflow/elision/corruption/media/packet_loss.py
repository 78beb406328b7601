"""Packet loss: a call over a bad network, whose lost packets nobody conceals."""

from collections.abc import Mapping
from math import nan
from typing import ClassVar

import numpy as np

from elision.corruption.kinds.burst import Burst, Setting
from elision.corruption.medium import Clip, SoundKind

_PACKET = 0.02  # seconds
_BURST = Setting(length=3)  # packets, in the mean


class PacketLoss(SoundKind):
    """Packets of 20 ms are lost in bursts, by a chain of two states (Gilbert 1960, Elliott 1963); they become silence.

    It is the chain of the corruption ``burst``: a burst ends at each packet with probability 1/3, and the share of lost
    packets is that of the level in the mean over clips. Single clips have more or less, as ``lost`` tells. What is lost
    at one severity is lost at every higher one.
    """

    name = "packet_loss"
    levels = (0.05, 0.1, 0.2, 0.3, 0.4)
    caption = "Packet loss"
    level = "share of lost packets"
    about = "Packets of 20 ms are lost in bursts of 3 in the mean, and are replaced by silence."
    measured: ClassVar[Mapping[str, str]] = {
        "lost": "share of lost packets",
        "burst": "mean length of bursts of lost packets, in packets",
    }

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        size = round(_PACKET * rate)
        numbers = Burst().sequence(clip.random(self.name), -(-len(y) // size), _BURST)
        lost = numbers < self.level_of(severity)
        heard = np.where(np.repeat(lost, size)[: len(y)], np.float32(0), y)
        bursts = np.count_nonzero(np.diff(lost, prepend=False) & lost)
        return heard, {"lost": float(lost.mean()), "burst": float(lost.sum() / bursts) if bursts else nan}
