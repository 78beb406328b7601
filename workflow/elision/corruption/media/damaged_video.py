"""A stream of video that was damaged on its way."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from math import nan

import av
import numpy as np

from elision.corruption.medium import Clip, PictureKind
from elision.corruption.pictures import PSNR, Error, Frame, decoder, encode, encoder, share, shown

# A stream as in a video call: a packet for each frame and no frame out of order, four slices in each frame, and a
# keyframe after 50 frames at most, with which damage ends.
_STREAM = {"crf": "23", "preset": "veryfast", "tune": "zerolatency", "x264-params": "keyint=50:slices=4"}
_BURST = 64  # bytes that a burst of errors overwrites, at most
_DELAY = 16  # frames that an H.264 decoder may put in order, so that a frame comes no later


class DamagedVideo(PictureKind):
    """Pictures are encoded as H.264, some packets are damaged, and what is left is decoded with errors concealed.

    In a packet that is hit, the first of them included, up to 64 bytes are overwritten from a place on that is drawn,
    or all bytes from there on are lost. Packets that are hit at one severity are hit at each higher one, in the same
    manner. Damage spreads to the frames that are predicted from a damaged one, up to the next keyframe.

    A frame that cannot be decoded shows the last picture before it; where there is none, it is dropped.
    """

    name = "damaged_video"
    levels = (2, 5, 10, 20, 40)
    unit = "%"
    caption = "Damaged video stream"
    level = "share of damaged packets"
    about = "The video is encoded as H.264, bytes of some packets are damaged or lost, and errors are concealed."
    measured = {
        "damaged": "share of packets that are damaged",
        "held": "share of frames that cannot be decoded and show an earlier picture",
        "dropped": "share of frames that cannot be decoded and are dropped, since there is no earlier picture",
        "psnr": f"of the frames that are shown: {PSNR}",
    }

    def corrupt(
        self, frames: Iterable[Frame], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[Frame]:
        frames, rate = iter(frames), self.level_of(severity) / 100
        first = next(frames, None)
        if first is None:
            measured |= dict.fromkeys(self.measured, nan)
            return
        height, width = first[1].shape[:2]
        encoding = encoder(height, width, _STREAM)
        coded = (encoding.height, encoding.width, encoding.pix_fmt)
        # A damaged header must not ask for gigabytes. Pictures with damage are given out, too.
        most = (encoding.height + 64) * (encoding.width + 64)
        decoding = decoder({"max_pixels": str(most), "flags": "+output_corrupt", "flags2": "+showall"})
        error = Error()
        last: np.ndarray | None = None
        packets = damaged = count = held = dropped = 0
        waiting = deque[tuple[int, Frame]]()  # numbers, times and pictures of frames that are not decoded so far

        def until(number: int, picture: np.ndarray | None = None) -> Iterator[Frame]:
            """Show frames before a number by the last picture, and the one of that number by its own."""
            nonlocal last, held, dropped
            while waiting and waiting[0][0] <= number:
                frame, (second, clean) = waiting.popleft()
                if frame == number and picture is not None:
                    last = picture
                elif last is None:
                    dropped += 1
                    continue
                else:
                    held += 1
                error.add(clean, last)
                yield second, last

        def decoded(packet: av.Packet | None) -> Iterator[Frame]:
            for picture in _decoded(decoding, packet):
                # A damaged header may tell another size or another format.
                if picture.pts is not None and (picture.height, picture.width, picture.format.name) == coded:
                    yield from until(picture.pts, shown(picture, height, width))

        for number, (second, clean) in enumerate(chain([first], frames)):
            count += 1
            waiting.append((number, (second, clean)))
            for packet in encode(encoding, number, clean):
                random = clip.random(self.name, packets)
                packets += 1
                hit = random.random() < rate
                damaged += hit
                yield from decoded(_damaged(packet, random) if hit else packet)
            yield from until(number - _DELAY)
        yield from decoded(None)
        yield from until(count)
        measured |= {
            "damaged": share(damaged, packets),
            "held": share(held, count),
            "dropped": share(dropped, count),
            "psnr": error.psnr(),
        }


def _damaged(packet: av.Packet, random: np.random.Generator) -> av.Packet:
    """Return a packet with bytes overwritten or lost, from a place on."""
    data = np.frombuffer(bytes(packet), np.uint8).copy()
    place, lost, length = random.integers(len(data)), random.random() < 0.5, random.integers(1, _BURST + 1)
    if lost:
        data = data[: max(1, place)]  # an empty packet would end the stream
    else:
        burst = data[place : place + length]
        burst ^= random.integers(1, 256, len(burst), np.uint8)  # every byte changes
    broken = av.Packet(data.tobytes())
    broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
    return broken


def _decoded(context: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
    try:
        return context.decode(packet)
    except av.FFmpegError:  # nothing in the packet can be decoded; its frame is told as held or dropped
        return []
