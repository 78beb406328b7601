"""Synthetic clips of talking faces, made on the spot: no network, no one's data.

Speakers judge a film. The label is what the speaker feels, in [-3, 3]; each modality shows it with noise of its own:

- text: a sentence of the grammar below whose ``sentiment`` is near label + N(0, 0.5). A quarter of the sentences are
  plain wordings of sentiment 0, whatever the label: only voice and face tell.
- audio: espeak-ng speaks faster, higher and livelier as label + N(0, 1.2) grows, around the speaker's own habits.
- vision: corners of the mouth, brows and lids follow label + N(0, 1.5), and the loudness of the speech.

``label_text``, ``label_audio`` and ``label_vision`` are these shown values; they correlate with the label by about
0.84, 0.82 and 0.74. What ridge regression makes of pooled features of 160 clips (MiniLM; pitch and MFCC;
facial landmarks; each speaker left out in turn) correlates by about 0.69, 0.58 and 0.73, and that of all three by 0.82.

All faces are one photograph, warped; the clips are for trying and testing the workflow, not for research on faces.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from elision.datasets import _face, _speech
from elision.files import replacing
from elision.progress import track
from elision.settings.params import ClipSettings

if TYPE_CHECKING:
    import pandas as pd

MAKES = "clips"
DIALOGUES = SYNTHETIC = True

LIMIT = 3.0  # labels lie in [-LIMIT, LIMIT]
FRAMES_PER_SECOND = 25
SHORTEST, LEAD, TAIL = 2.0, 0.12, 0.2  # seconds: of a clip, and of silence before and after the speech

ZEROS = 0.1  # share of labels that are 0
PLAIN = 0.25  # share of sentences that say nothing of the label
TEXT_NOISE, AUDIO_NOISE, VISION_NOISE = 0.5, 1.2, 1.5  # standard deviations, in units of the label

SUBJECTS = (
    "the film", "the story", "the music", "the acting", "the ending", "the first scene", "the main actor",
    "the dialogue", "the camera work", "the second half",
)  # fmt: skip
OPENINGS = ("", "well,", "you know,", "as I said,", "to my mind,", "I must say,")
OPINIONS = (
    "{subject} was {description} {when}",
    "{subject} was {description}",
    "I found {subject} {description}",
)
STATEMENTS = (
    "we saw {subject} {when}",
    "they talked about {subject} {when}",
    "I watched {subject} again {when}",
    "my friends asked about {subject} {when}",
    "{subject} was {neutral} {when}",
    "I found {subject} {neutral}",
)
WHEN = ("last night", "this time", "at the cinema", "on Sunday", "this evening")
NEUTRAL = ("surprising", "unusual", "different", "unexpected", "simple", "long", "serious", "quiet")
POLARITY = {
    "wonderful": 2.2, "brilliant": 2.2, "fantastic": 2.2, "excellent": 2.0, "great": 1.8, "beautiful": 1.8,
    "lovely": 1.6, "enjoyable": 1.4, "good": 1.4, "funny": 1.2, "nice": 1.0, "pleasant": 1.0,
    "decent": 0.6, "fine": 0.4,
    "terrible": -2.2, "horrible": -2.2, "awful": -2.2, "dreadful": -2.0, "disgusting": -1.8, "ugly": -1.8,
    "annoying": -1.6, "boring": -1.4, "bad": -1.4, "poor": -1.2, "weak": -1.0, "dull": -1.0,
    "slow": -0.6, "predictable": -0.4,
}  # fmt: skip
INTENSITY = {
    "slightly": 0.4, "somewhat": 0.6, "quite": 0.8, "": 1.0, "really": 1.2, "very": 1.3, "extremely": 1.5,
}  # fmt: skip
NEGATION = -0.5  # "not" turns the sentiment round and halves it

TURNS = 5  # of a dialogue
VARIANTS = ("f2", "f1", "f5", "f3", "linda", "f4")  # of espeak-ng: women, as the face is


class Settings(ClipSettings):
    """Settings of the synthetic clips."""

    source: Literal["demo"] = Field(description="synthetic clips, made on the spot")
    corpus: Literal["demo"] = Field("demo", description="label range [-3, 3], metrics of CMU-MOSI, small models")
    clips: int = Field(160, ge=12, description="number of clips, of 2 to 4 s each")
    speakers: int = Field(6, ge=3, description="voices; about 2 in 6 are kept for validation and test, at least 1 each")
    seed: int = Field(1111, ge=0, description="key of all random choices")

    @model_validator(mode="after")
    def _enough_clips(self) -> "Settings":
        if self.clips < 2 * self.speakers:
            raise ValueError(f"{self.clips} clips are too few for {self.speakers} speakers, who say at least two each")
        return self


def inputs(settings: Settings) -> list[Path]:
    """Return the user's files that the dataset is made from: none."""
    return []


def prepare(settings: Settings, folder: Path) -> "pd.DataFrame":
    """Make the clips, ``folder/{id}.mp4`` (H.264, AAC), and their table.

    The bytes are the same every time on one kind of machine with the same libraries, whatever the number of processors.

    Returns
    -------
    table : pd.DataFrame
        One row per clip; ``label_text``, ``label_audio`` and ``label_vision`` are what each modality shows.

    Raises
    ------
    ElisionError
        If espeakng-loader is not installed, or a sentence cannot be spoken.
    """
    from joblib import cpu_count

    _speech.check_installed()
    table = plan(settings)
    table["path"] = [str(folder / f"{name}.mp4") for name in table["id"]]
    clips = list(table.itertuples())
    # Threads do: the speech has a process of its own, and OpenCV and the encoders release the interpreter's lock.
    with ThreadPoolExecutor(cpu_count()) as pool:
        made = pool.map(lambda clip: _make(clip, settings.seed), clips)
        durations, words = zip(*track(made, "make demo clips", len(clips)), strict=True)
    return table.assign(duration=durations, has_audio=True, has_vision=True, fps=float(FRAMES_PER_SECOND), words=words)


def plan(settings: Settings) -> "pd.DataFrame":
    """Decide what every clip shows, before any is made.

    Speakers take turns, the last ones being those of validation and test. The labels of every speaker are spread evenly
    over the whole range, so that every split sees all of it.

    Returns
    -------
    table : pd.DataFrame
        Columns ``id``, ``speaker``, ``dialogue``, ``position``, ``split``, ``label``, ``text``, ``label_text``,
        ``label_audio``, ``label_vision``. A dialogue is what one speaker says in a row.
    """
    import pandas as pd

    held_out = max(1, round(settings.speakers / 6))
    rows = []
    for number in range(settings.clips):
        turn, speaker = divmod(number, settings.speakers)
        turns = len(range(speaker, settings.clips, settings.speakers))
        place = _generator(settings.seed, "order", speaker).permutation(turns)[turn]
        draw = _generator(settings.seed, "plan", number)
        label = _label((place + draw.random()) / turns)
        text = compose(label + TEXT_NOISE * draw.standard_normal(), plain=draw.random() < PLAIN, draw=draw)
        left = settings.speakers - speaker
        rows.append(
            {
                "id": f"demo_{number:04d}",
                "speaker": f"speaker_{speaker}",
                "dialogue": f"speaker_{speaker}_{turn // TURNS}",
                "position": turn % TURNS,
                "split": "test" if left <= held_out else "valid" if left <= 2 * held_out else "train",
                "label": label,
                "text": text,
                "label_text": sentiment(text),
                "label_audio": _within_limits(label + AUDIO_NOISE * draw.standard_normal()),
                "label_vision": _within_limits(label + VISION_NOISE * draw.standard_normal()),
            }
        )
    return pd.DataFrame(rows)


def sentiment(sentence: str) -> float:
    """Compute the sentiment of a sentence of the grammar from its words.

    The polarity of the adjective, times its intensifier, times ``NEGATION`` where the sentence says "not"; 0 for a
    sentence without a judging adjective.

    Returns
    -------
    sentiment : float in [-3, 3]
        Rounded to one decimal.
    """
    words = re.findall(r"\w+", sentence.lower())
    polarity = sum(POLARITY.get(word, 0.0) for word in words)
    factors = [INTENSITY.get(word, 1.0) for word in words] + [NEGATION] * words.count("not")
    return _within_limits(polarity * math.prod(factors))


def compose(target: float, *, plain: bool, draw: np.random.Generator) -> str:
    """Compose a sentence.

    Parameters
    ----------
    target : float
        The sentiment to come near to.
    plain : bool
        Say nothing of it: a sentence of sentiment 0.
    draw : np.random.Generator
        Chooses among the sentences that fit.
    """
    description = "" if plain else _description(target, draw)
    core = draw.choice(STATEMENTS if plain else OPINIONS).format(
        subject=draw.choice(SUBJECTS), description=description, neutral=draw.choice(NEUTRAL), when=draw.choice(WHEN)
    )
    sentence = f"{draw.choice(OPENINGS)} {core}".strip()
    return f"{sentence[0].upper()}{sentence[1:]}."


def _description(target: float, draw: np.random.Generator) -> str:
    """Return a judgement, as in "not very good", within 0.2 of the target where there is one, else the nearest."""
    described, sentiments = _descriptions()
    distance = np.abs(sentiments - target)
    near = np.flatnonzero(distance <= max(0.2, distance.min()))
    return described[draw.choice(near)]


@cache
def _descriptions() -> tuple[list[str], np.ndarray]:
    """Return every judgement and its sentiment."""
    described = [
        " ".join(filter(None, words))
        for words in product(("", "not"), INTENSITY, POLARITY)
        if not (words[0] and INTENSITY[words[1]] < 1)  # nobody says "not slightly good"
    ]
    return described, np.array([sentiment(words) for words in described])


def _label(share: float) -> float:
    """Return the label below which a share of all labels lies: uniform, with a heap of ``ZEROS`` at 0."""
    side = 2 * share - 1
    size = max(0.0, abs(side) - ZEROS) / (1 - ZEROS)
    return _within_limits(math.copysign(LIMIT * size, side))


def _within_limits(value: float) -> float:
    return round(min(max(float(value), -LIMIT), LIMIT), 1) + 0.0  # no -0.0


def _generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the random numbers of one purpose for one clip or speaker, whatever else is drawn."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), number])


@dataclass(frozen=True)
class _Speaker:
    """The habits of a speaker, around which the label moves voice and face."""

    look: _face.Look
    smile: float
    variant: str
    rate: float
    pitch: float
    pitch_range: float


def _speaker(number: int, seed: int) -> _Speaker:
    draw = _generator(seed, "speaker", number)
    return _Speaker(
        look=_face.Look(scale=draw.uniform(1.2, 1.4), tint=draw.uniform(0.88, 1.1, 3), flip=bool(draw.random() < 0.5)),
        smile=draw.normal(0, 0.1),
        variant=VARIANTS[number % len(VARIANTS)],
        rate=draw.uniform(178, 190),
        pitch=draw.uniform(40, 55),
        pitch_range=draw.uniform(45, 55),
    )


def _make(clip: tuple, seed: int) -> tuple[float, str]:
    """Make the file of one clip; return its duration in seconds, and its words and their times as JSON."""
    number = clip.Index
    speaker = _speaker(int(clip.speaker.removeprefix("speaker_")), seed)
    speech = _speech.speak(clip.text, _voice(speaker, clip.label_audio / LIMIT, _generator(seed, "voice", number)))

    frames = math.ceil(max(SHORTEST, LEAD + speech.duration + TAIL) * FRAMES_PER_SECOND)
    samples = np.zeros(round(frames * speech.sample_rate / FRAMES_PER_SECOND), np.int16)
    spoken = np.frombuffer(speech.samples, np.int16)
    start = round(LEAD * speech.sample_rate)
    samples[start : start + len(spoken)] = spoken

    motion = _motion(speaker, clip.label_vision / LIMIT, _loudness(samples, frames), _generator(seed, "face", number))
    _encode(Path(clip.path), _face.render(speaker.look, motion), samples, speech.sample_rate)

    starts = [round(LEAD + begin, 3) for _, begin in speech.words]
    ends = [*starts[1:], round(LEAD + speech.duration, 3)]
    words = [[word, begin, end] for (word, _), begin, end in zip(speech.words, starts, ends, strict=True)]
    return frames / FRAMES_PER_SECOND, json.dumps(words)


def _voice(speaker: _Speaker, mood: float, draw: np.random.Generator) -> _speech.Voice:
    """Choose the prosody for a mood in [-1, 1]."""
    return _speech.Voice(
        name=f"en-us+{speaker.variant}",
        rate=round(speaker.rate + 15 * mood + draw.normal(0, 4)),
        pitch=round(min(max(speaker.pitch + 25 * mood + draw.normal(0, 3), 0), 100)),
        pitch_range=round(min(max(speaker.pitch_range + 30 * mood + draw.normal(0, 5), 0), 100)),
    )


def _loudness(samples: np.ndarray, frames: int) -> np.ndarray:
    """Return the loudness of the speech during each frame, 1 for the loudest [shape=(frames,)]."""
    energy = [np.mean(np.square(part, dtype=np.float64)) for part in np.array_split(samples, frames)]
    loudness = np.sqrt(np.convolve(energy, [0.25, 0.5, 0.25], "same"))
    return loudness / loudness.max()


def _motion(speaker: _Speaker, mood: float, loudness: np.ndarray, draw: np.random.Generator) -> _face.Motion:
    """Move the face for a mood in [-1, 1] and the loudness of each frame."""
    frames = len(loudness)
    seconds = np.arange(frames) / FRAMES_PER_SECOND

    def sway(slowest: float, fastest: float) -> np.ndarray:
        return np.sin(2 * np.pi * (draw.uniform(slowest, fastest) * seconds + draw.random()))

    expression = mood * (0.75 + 0.25 * sway(0.2, 0.5))
    blink = np.zeros(frames)
    at = draw.uniform(0.2, 2.0)
    while at < seconds[-1]:
        blink = np.maximum(blink, 1 - np.abs(seconds - at) / 0.12)
        at += draw.uniform(1.5, 3.5)
    return _face.Motion(
        smile=speaker.smile + 0.9 * expression,
        jaw=loudness,
        brow=expression * (0.4 + 0.4 * loudness) + 0.1 * sway(0.3, 0.8),
        lid=np.maximum(blink, 0.2 - 0.2 * expression),
        roll=3 * sway(0.1, 0.3),
        shift=np.stack([2.5 * sway(0.1, 0.4), 1.5 * sway(0.1, 0.4)], axis=1),
    )


def _encode(path: Path, frames: Iterable[np.ndarray], samples: np.ndarray, sample_rate: int) -> None:
    """Write a clip, under a temporary name until it is whole."""
    import av

    with replacing(path) as temporary, av.open(temporary, "w", format="mp4") as file:
        # One thread: with more, x264 cuts frames into slices, and the bytes depend on the number of processors.
        options = {"crf": "20", "preset": "superfast", "x264-params": "threads=1"}
        video = file.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        video.width = video.height = _face.SIZE
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        audio = file.add_stream("aac", rate=sample_rate, layout="mono", bit_rate=64000)
        for frame in frames:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        sound.sample_rate, sound.time_base, sound.pts = sample_rate, Fraction(1, sample_rate), 0
        file.mux(audio.encode(sound))
        file.mux(audio.encode())
