"""Speech synthesis by espeak-ng, one fresh process per utterance.

espeak-ng repeats itself to the sample only in the first call of a process, and only when its noise (the breath of some
voices) is not seeded by the clock. ``speak`` therefore runs this file as a program, which sets the seed, speaks once
and ends.
"""

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from elision.errors import ElisionError

INSTALL = "pip install -c constraints.txt -e '.[demo]'"

# Numbers of speak_lib.h.
_SYNCHRONOUS, _DO_NOT_EXIT, _UTF8, _WORD = 2, 0x8000, 1, 1
_PARAMETERS = {"rate": 1, "pitch": 3, "pitch_range": 4}


@dataclass(frozen=True)
class Voice:
    """How to speak.

    Attributes
    ----------
    name : str
        Voice and variant, as in ``en-us+f1``.
    rate : int
        Words per minute.
    pitch, pitch_range : int in [0, 100]
        Base pitch and its variation; 50 is the middle of the voice.
    """

    name: str
    rate: int
    pitch: int
    pitch_range: int


@dataclass(frozen=True)
class Speech:
    """What was said.

    Attributes
    ----------
    samples : bytes
        Mono PCM, int16 in the byte order of the machine.
    sample_rate : int
        Hz.
    words : list of (str, float)
        Each word and when it starts, in seconds.
    """

    samples: bytes
    sample_rate: int
    words: list[tuple[str, float]]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / 2 / self.sample_rate


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, counted from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def check_installed() -> None:
    """Check that espeak-ng is there.

    Raises
    ------
    ElisionError
        If the package ``espeakng-loader`` is missing.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise ElisionError(f"the demo clips are spoken by espeak-ng, and espeakng-loader is not installed: {INSTALL}")


def speak(text: str, voice: Voice) -> Speech:
    """Speak a sentence; the same bytes for the same text and voice, in whatever order sentences are spoken.

    Raises
    ------
    ElisionError
        If espeak-ng fails.
    """
    command = [sys.executable, "-m", __name__, json.dumps({"text": text, **asdict(voice)})]
    process = subprocess.run(command, capture_output=True, check=False)
    if process.returncode:
        reason = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ElisionError(f"espeak-ng could not say {text!r} ({reason}); install it again: {INSTALL}")
    header, _, samples = process.stdout.partition(b"\n")
    sample_rate, words = json.loads(header)
    return Speech(samples, sample_rate, [(word, start) for word, start in words])


def _synthesise(text: str, name: str, **parameters: int) -> Speech:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    folder = Path(espeakng_loader.get_data_path()).parent
    os.chdir(folder)  # espeak-ng has 160 characters for a path; those of conda environments are longer
    sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, b".", _DO_NOT_EXIT)
    if sample_rate <= 0:
        raise OSError(f"no voices in {folder}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    chunks, words = [], []

    @_Callback
    def receive(samples, count, event):  # noqa: ANN001, ANN202
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while event[i].type:
            if event[i].type == _WORD:
                begin = event[i].text_position - 1
                words.append((text[begin : begin + event[i].length], event[i].audio_position / 1000))
            i += 1
        return 0

    library.espeak_SetSynthCallback(receive)
    if library.espeak_SetVoiceByName(name.encode()):
        raise OSError(f"no voice {name}")
    for parameter, value in parameters.items():
        library.espeak_SetParameter(_PARAMETERS[parameter], value, 0)
    encoded = text.encode()
    if library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None):
        raise OSError("espeak_Synth failed")
    return Speech(b"".join(chunks), sample_rate, words)


def _main() -> None:
    speech = _synthesise(**json.loads(sys.argv[1]))
    header = json.dumps([speech.sample_rate, speech.words])
    sys.stdout.buffer.write(header.encode() + b"\n" + speech.samples)


if __name__ == "__main__":
    _main()
