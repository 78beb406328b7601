"""Codecs: what the sound is after a call, a voice message or a stream at a low bit rate."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np

from elision.corruption.media._resampling import resampled
from elision.corruption.medium import Clip, SoundKind
from elision.errors import ElisionError


class _Codec(NamedTuple):
    """FFmpeg's encoder and decoder, the rate in Hz and the format of samples that go in, and bits per second.

    The decoder drops what the encoder puts before the sound, where the stream tells it; ``delay`` is the number of
    samples that it does not tell.
    """

    encoder: str
    decoder: str
    rate: int
    format: str
    bit_rate: int | None
    options: dict[str, str]
    delay: int = 0


_VOICE = {"application": "voip", "vbr": "off"}
_CODECS = (
    _Codec("libopus", "libopus", 48000, "flt", 12000, _VOICE),
    _Codec("libmp3lame", "mp3float", 16000, "fltp", 16000, {}),
    _Codec("pcm_mulaw", "pcm_mulaw", 8000, "s16", None, {}),
    _Codec("libopus", "libopus", 48000, "flt", 6000, _VOICE),
    # Its delay is the 5 ms that the encoder looks ahead (3GPP TS 26.090).
    _Codec("libopencore_amrnb", "amrnb", 8000, "s16", 4750, {}, delay=40),
)
_FRAME = 160  # samples at once, for a codec that has no frames
_AFTER = 4  # frames of silence behind the sound, which push the end of it through the codec


class Codec(SoundKind):
    """The sound is encoded and decoded in memory by one of five codecs.

    They are in the order in which they change the mel spectrogram of speech at 16 kHz, which is not that of bit rates.
    Codecs of 8 kHz (G.711's mu-law, AMR) take all above 4 kHz away, and so does Opus at 6 kbit/s. The delay of each
    codec is taken off, so that the sound keeps its times. Nothing is drawn. What exceeds full scale is clipped.
    """

    name = "codec"
    levels = (12, 16, 64, 6, 4.75)
    names = ("Opus, 12 kbit/s", "MP3, 16 kbit/s", "mu-law at 8 kHz", "Opus, 6 kbit/s", "AMR-NB, 4.75 kbit/s")
    unit = "kbit/s"
    caption = "Codecs"
    level = "codec"
    about = "The sound is encoded by a codec at a low bit rate, and decoded again."
    measured: ClassVar[Mapping[str, str]] = {"bitrate": "size of the encoded sound, in kbit/s"}

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        import av

        codec = _CODECS[severity - 1]
        sound = np.clip(resampled(y, rate, codec.rate), -1, 1)
        try:
            decoded, encoded_size = _through(codec, sound)
        except av.codec.codec.UnknownCodecError as error:
            raise ElisionError(
                f"corruption codec: the FFmpeg of this PyAV has no {error}, for {self.names[severity - 1]}. Install "
                f"PyAV's own build: pip install --force-reinstall --no-deps av=={av.__version__}. Or leave severity "
                f"{severity} of codec out"
            ) from error
        back = resampled(decoded, codec.rate, rate)[: len(y)].astype(np.float32)
        return back, {"bitrate": 8 * encoded_size / 1000 / (len(sound) / codec.rate)}


def _through(codec: _Codec, sound: np.ndarray) -> tuple[np.ndarray, int]:
    """Encode and decode a sound at the rate of a codec; return one as long, and the bytes of all packets."""
    import av

    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.format = codec.rate, "mono", codec.format
    encoder.time_base, encoder.thread_count, encoder.options = Fraction(1, codec.rate), 1, codec.options
    if codec.bit_rate:
        encoder.bit_rate = codec.bit_rate
    encoder.open()
    size = encoder.frame_size or _FRAME
    padded = np.pad(sound, (0, -len(sound) % size + _AFTER * size))
    samples = np.rint(padded * 32767).astype(np.int16) if codec.format == "s16" else padded.astype(np.float32)
    packets = []
    for start in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], format=codec.format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = codec.rate, start, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create(codec.decoder, "r")
    decoder.sample_rate, decoder.layout, decoder.thread_count = codec.rate, "mono", 1
    if encoder.extradata:  # where Opus tells how many samples come before the sound
        decoder.extradata = encoder.extradata
    parts = [frame.to_ndarray()[0] for packet in [*packets, None] for frame in decoder.decode(packet)]
    decoded = np.concatenate([part / 32768 if part.dtype == np.int16 else part for part in parts])
    return decoded[codec.delay :][: len(sound)], sum(packet.size for packet in packets)
