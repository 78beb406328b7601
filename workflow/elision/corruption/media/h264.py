"""Compression of the pictures as H.264, as by a video call or a website."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from math import nan

import av
from pydantic import BaseModel, Field

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import PSNR, Error, Frame, decoder, encode, encoder, share, shown


class H264(PictureKind):
    """Pictures are encoded by libx264 at a constant rate factor, and decoded, in one thread.

    Encoder and decoder hold some fifteen frames. The encoder takes every video to have 25 frames per second, as its
    rate control reads; the times of frames that come out are the true ones. Sides that are odd or shorter than 16
    pixels are padded by their last pixels for the encoder.
    """

    name = "h264"
    levels = (35, 39, 43, 47, 51)
    unit = "crf"
    caption = "H.264 compression"
    level = "constant rate factor"
    about = "The video is compressed as H.264 at a constant rate factor of libx264."
    measured = {"psnr": PSNR, "bits": "size of the stream, in bits per pixel"}

    class Options(BaseModel, extra="forbid"):
        """Settings of the encoder."""

        preset: str = Field("medium", description="preset of libx264, such as veryfast, medium or slow")

    options: Options

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        # Each frame of look-ahead is a frame in memory.
        options = {"crf": str(self.level_of(severity)), "preset": self.options.preset, "rc-lookahead": "10"}
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            measured |= dict.fromkeys(self.measured, nan)
            return
        height, width = first[1].shape[:2]
        encoding, decoding = encoder(height, width, options), decoder()
        error, size, waiting = Error(), 0, deque[Frame]()

        def decoded(packets: Iterable[av.Packet | None]) -> Iterator[Frame]:
            nonlocal size
            for packet in packets:
                size += packet.size if packet else 0
                for picture in decoding.decode(packet):
                    second, clean = waiting.popleft()
                    result = shown(picture, height, width)
                    error.add(clean, result)
                    yield second, result

        for number, (second, clean) in enumerate(chain([first], frames)):
            waiting.append((second, clean))
            yield from decoded(encode(encoding, number, clean))
        yield from decoded([*encoding.encode(None), None])
        measured |= {"psnr": error.psnr(), "bits": share(8 * size, error.values // 3)}
