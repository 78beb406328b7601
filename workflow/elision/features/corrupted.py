"""Features of corrupted clips: a clip is decoded, corrupted in memory and extracted in the way of a clean one.

Kinds of corruption with their severities are *steps*, in the order in which they happen. A step concerns one medium, so
that one modality is extracted again, or two: where words are recognised, sound decides the text as well.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from elision.corruption.clips import CorruptedClips
from elision.corruption.medium import MODALITY, At, Box, Clip, MediaKind, PictureKind, SoundKind, WordsKind, made
from elision.errors import ElisionError
from elision.features.shards import extractor, shard_rows
from elision.progress import track
from elision.settings.params import Features
from elision.store import Extracted, Header, Sequences, Store
from elision.task import MODALITIES, split_columns

T = TypeVar("T")
Steps = Sequence[tuple[MediaKind, int]]
_SOUNDS = 16  # of other clips that are held in memory


def steps_of(entries: Mapping[str, At]) -> list[tuple[MediaKind, int]]:
    """Return the kinds that a dataset names for all of its clips, with their options and severities."""
    return [(made(name, at.options), at.severity) for name, at in entries.items()]


def concerned(steps: Steps, *, recognised: bool = False) -> list[str]:
    """Return the modalities that steps change, in the order of modalities; text too, if words are recognised."""
    found = {MODALITY[kind.medium] for kind, _ in steps}
    found |= {"text"} if recognised and "audio" in found else set()
    return [name for name in MODALITIES if name in found]


class Seconds:
    """What extraction of corrupted clips takes, in seconds, by what is done: an inner section stops the outer one."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time of a section."""
        self._switch()
        self._open.append(what)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now

    def each(self, what: str, items: Iterator[T]) -> Iterator[T]:
        """Pass items on, and count the time that each takes."""
        while True:
            with self.of(what):
                item = next(items, None)
            if item is None:
                return
            yield item

    def told(self, forms: int) -> str:
        """Say what each of some corrupted forms of clips took."""
        return ", ".join(f"{what} {seconds / max(forms, 1):.3f} s" for what, seconds in sorted(self.spent.items()))


class Corruptor:
    """Corrupts the clips of one table, and extracts what is corrupted.

    Parameters
    ----------
    table : pd.DataFrame
        Of clips among which a kind may take sounds: the test clips, or all that are corrupted.
    features : Features
    seed : int
        Of the corruption.
    recogniser : str, optional
        What recognises the words of corrupted sound (see ``features.recognise``); by default
        ``features.text.recogniser``, and without one words stay as they are.

    Raises
    ------
    ElisionError
        If an extractor or a recogniser is not installed.
    """

    def __init__(self, table: pd.DataFrame, features: Features, *, seed: int, recogniser: str | None = None) -> None:
        self.features, self.seed, self.seconds = features, seed, Seconds()
        self._paths = {row.id: row.path for row in table.itertuples() if row.path is not None and row.has_audio}
        self._recogniser = recogniser or features.text.recogniser
        self.recognises = bool(self._recogniser)
        self._sound_of = lru_cache(_SOUNDS)(_sound)
        self._faces: dict[str, Callable[[Fraction], Box | None]] = {}
        self._extractors: dict[str, tuple[Any, Header]] = {}

    def extractor(self, modality: str) -> tuple[Any, Header]:
        """Return what extracts a modality, and the header of its sequences."""
        if modality not in self._extractors:
            self._extractors[modality] = extractor(modality, self.features)
        return self._extractors[modality]

    @cached_property
    def recognise(self) -> Callable[[np.ndarray], str] | None:
        """The words of a sound at the rate of the features; None: words are not recognised."""
        if not self._recogniser:
            return None
        from elision.features import recognise

        return recognise.recogniser(self._recogniser, sample_rate=self.features.audio.sample_rate)

    def clip(self, row: Any) -> Clip:
        """Return what kinds may ask about a clip, each answer looked up when it is asked for."""

        def face(second: Fraction) -> Box | None:
            if row.path is None or not row.has_vision:
                return None
            if row.id not in self._faces:
                from elision.features.faces import face_boxes

                with self.seconds.of("face of the clean clip"):
                    found = face_boxes(row.path, self.features.vision, audio=self.features.audio)
                self._faces = {row.id: found}  # of one clip, which has several forms
            return self._faces[row.id](second)

        def others(rate: int) -> Iterator[np.ndarray]:
            names = [name for name in self._paths if name != row.id]
            for place in clip.random("others").permutation(len(names)):
                if (y := self._sound_of(self._paths[names[place]], rate)) is not None:
                    yield y

        def sound(rate: int) -> np.ndarray | None:
            return self._sound_of(row.path, rate) if row.id in self._paths else None

        clip = Clip(row.id, self.seed, sound, others, face)
        return clip

    def read(self, row: Any, modalities: Iterable[str]) -> dict[str, Any]:
        """Decode what is concerned of a clip; pictures are decoded anew for each form, since they may fill a memory."""
        wanted = [*modalities]
        # Where the sound is corrupted, words are recognised in `corrupted`.
        later = {"text"} if self.features.text.recogniser and "audio" in wanted else set()
        with self.seconds.of("decoding"):
            return {name: None if name in later else self.extractor(name)[0].read(row) for name in wanted}

    def extracted(self, row: Any, steps: Steps, read: Mapping[str, Any]) -> tuple[dict[str, Extracted], dict[str, Any]]:
        """Corrupt a clip, and extract what is corrupted.

        Parameters
        ----------
        row : row of the table of clips
        steps : sequence of (MediaKind, int)
            Kinds with their severities; a severity of 0 changes nothing.
        read : mapping of str to signal
            What `read` gave, of the modalities that are extracted.

        Returns
        -------
        extracted : dict of str to Extracted
        measured : dict
            What the kinds and this function measured (``medium.MEASURED``). ``text``: the words, where they are
            extracted.

        Raises
        ------
        ElisionError
            If the clip cannot be decoded, or a kind cannot corrupt it.
        """
        found, measured = {}, {}
        for name, signal in self.corrupted(row, steps, read, measured).items():
            with self.seconds.of("extraction"):
                found[name] = self.extractor(name)[0].describe(signal)
            measured |= measured_of(self.extractor(name)[1], found[name].values, found[name].facts)
        return found, measured

    def corrupted(self, row: Any, steps: Steps, read: Mapping[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
        """Corrupt what was read of a clip (parameters as of `extracted`).

        Parameters
        ----------
        measured : dict
            Takes what the kinds measure: of pictures while these are read.

        Returns
        -------
        signals : dict of str to signal
        """
        clip, signals, anew = self.clip(row), {}, bool(self.features.text.recogniser)
        steps = [step for step in steps if step[1]]
        for name in sorted(read, key=lambda each: each == "text"):  # words may be those of the corrupted sound
            signal, mine = read[name], [step for step in steps if MODALITY[step[0].medium] == name]
            if name == "text":
                signal = measured["text"] = self._words(measured.get("text", signal), mine, clip, measured)
                if signal is not None and row.text and steps and ("wer" not in measured or anew):
                    measured["wer"] = _word_error_rate(row.text, signal)
            elif name == "audio" and signal is not None and signal.y is not None:
                signal = self._sound(signal, mine, clip, measured)
                if "text" in read and self.recognise is not None and (steps or anew):
                    with self.seconds.of("recognition"):
                        measured["text"] = self.recognise(signal.y)
            elif name == "vision" and signal is not None:
                signal = self._pictures(signal, mine, clip, measured)
            signals[name] = signal
        return signals

    def describer(self, modality: str, steps: Steps) -> Callable[[Any], Extracted]:
        """Return what extracts a modality of a clip (None: no data) after some steps."""
        describe, _ = self.extractor(modality)
        # Words that are recognised are those of the corrupted sound.
        wanted = ["audio", "text"] if modality == "text" and self.recognises else [modality]

        def extracted(row: Any) -> Extracted:
            if row is None:
                return describe(None)
            return describe.describe(self.corrupted(row, steps, self.read(row, wanted), {})[modality])

        return extracted

    def _sound(self, signal: Any, steps: Steps, clip: Clip, measured: dict[str, Any]) -> Any:
        y = signal.y
        for kind, severity in steps:
            assert isinstance(kind, SoundKind)
            length = len(y)
            with self.seconds.of("corruption"):
                y, more = kind.corrupt(y, self.features.audio.sample_rate, severity, clip)
            if y.shape != (length,) or not np.isfinite(y).all():
                raise ElisionError(
                    f"corruption {kind.name} gives samples that are no numbers, or {len(y)} samples in place of "
                    f"{length}; correct corruption/media/{kind.name}.py"
                )
            measured |= more
        measured |= _distortion(signal.y, y)
        return replace(signal, y=y)

    def _pictures(self, signal: Any, steps: Steps, clip: Clip, measured: dict[str, Any]) -> Any:
        def frames(facts: dict[str, Any]) -> Iterator:
            with closing(signal.frames(facts)) as decoded:
                passed = self.seconds.each("decoding", decoded)
                for kind, severity in steps:
                    assert isinstance(kind, PictureKind)
                    passed = self.seconds.each("corruption", iter(kind.corrupt(passed, severity, clip, measured)))
                yield from passed

        return replace(signal, frames=frames)

    def _words(self, words: str | None, steps: Steps, clip: Clip, measured: dict[str, Any]) -> str | None:
        for kind, severity in steps:
            assert isinstance(kind, WordsKind)
            if words is not None and words.strip():
                with self.seconds.of("corruption"):
                    words, more = kind.corrupt(words, severity, clip)
                measured |= more
        return words


def measured_of(header: Header, values: np.ndarray, facts: Mapping[str, Any] | None) -> dict[str, float]:
    """Measure what is extracted: the share of voiced frames (log F0 is not 0), or of frames with a face.

    Parameters
    ----------
    header : Header
        Of the sequences. Without a column of log F0, nothing tells which frames are voiced.
    values : np.ndarray [shape=(T, d)] or [shape=(T,)]
        Of a clip; without frames there is no share.
    facts : mapping
        Of the clip: ``filled_frames`` have no face.
    """
    if not len(values) or header.modality == "text":
        return {}
    if header.modality == "audio":
        return {"voiced": float(np.mean(values[:, -1] != 0))} if header.features[-1:] == ["log_f0"] else {}
    seen = np.count_nonzero(~np.isnan(values).any(axis=1)) - (facts or {}).get("filled_frames", 0)
    return {"faces": seen / len(values)}


def defined(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return measurements as JSON has them: what is not defined is null."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in measured.items()}


def _distortion(clean: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Measure the signal-to-distortion ratio in dB; it is not defined for silence, and where nothing has changed."""
    power, changed = (float(np.square(each, dtype=np.float64).sum()) for each in (clean, y - clean))
    return {"distortion": 10 * float(np.log10(power / changed))} if power and changed else {}


def _word_error_rate(said: str, words: str) -> float:
    from elision.features.recognise import word_error_rate

    return 100 * word_error_rate(said, words)


def _sound(path: str, rate: int) -> np.ndarray | None:
    from elision.features.media import read_audio

    return read_audio(path, sample_rate=rate)


def corrupt(
    corruptor: Corruptor,
    kind: MediaKind,
    severities: Iterable[int],
    rows: pd.DataFrame,
    *,
    before: Steps = (),
    where: str = "",
) -> CorruptedClips:
    """Extract clips under one kind of corruption at each severity.

    Parameters
    ----------
    corruptor : Corruptor
    kind : MediaKind
    severities : iterable of int
        0 is left out: it is the clean clip.
    rows : pd.DataFrame
        The clips, rows of the table of clips.
    before : sequence of (MediaKind, int)
        What happened to all clips of the dataset before (``datasets.NAME.media``).
    where : str
        For the progress.

    Raises
    ------
    ElisionError
        If a clip fails and ``features.on_error`` is ``stop``.
    """
    severities = sorted({*severities} - {0})
    modalities = concerned([(kind, 1)], recognised=corruptor.recognises)
    for name in modalities:  # what it loads, and compiles, is not the work on a clip
        corruptor.extractor(name)
    parts: dict[tuple[int, str], list[Extracted]] = {(s, name): [] for s in severities for name in modalities}
    measured: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for row in track(list(rows.itertuples()), f"corrupt media, {kind.name}{where}"):
        try:
            read = corruptor.read(row, modalities)
            forms = {s: corruptor.extracted(row, [*before, (kind, s)], read) for s in severities}
        except ElisionError as error:
            if corruptor.features.on_error == "stop":
                raise ElisionError(
                    f"clip {row.id!r}: {error}\nRepair or remove it, or set features.on_error: skip in params.yaml"
                ) from error
            print(f"no {' and no '.join(modalities)} of clip {row.id!r} under {kind.name}: {error}", file=sys.stderr)
            failed[row.id] = str(error)
            nothing = {name: corruptor.extractor(name)[0](None) for name in modalities}
            forms = dict.fromkeys(severities, (nothing, {}))
        for severity, (found, told) in forms.items():
            measured.append({"id": row.id, "severity": severity, **told})
            for name in modalities:
                parts[severity, name].append(found[name])
    # Without clips, values still have the right width.
    sequences = {key: _sequences(*corruptor.extractor(key[1]), each) for key, each in parts.items()}
    print(f"{kind.name}: each corrupted form of a clip took {corruptor.seconds.told(len(measured)) or '0 s'}")
    return CorruptedClips(rows["id"].tolist(), sequences, measured, failed, {})


def _sequences(describe: Any, header: Header, parts: list[Extracted]) -> Sequences:
    values, times, _ = zip(*parts, describe(None), strict=True)
    whole = Sequences.of(values, header, None if times[-1] is None else times)
    return whole.part(0, len(parts))


def of_test(clips: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the clips that are test samples, with folds those of any fold, in the order of the samples."""
    tested = samples[(samples[split_columns(samples)] == "test").any(axis=1)]
    return clips.set_index("id", drop=False).loc[tested["id"]].reset_index(drop=True)


def part(rows: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Return the clips of a shard."""
    return rows.iloc[shard_rows(len(rows), shard, shards)]


def as_long_as(features: Features, store: Store) -> Features:
    """Return features whose text is cut to the length of the store: a text with more words still ends in [SEP]."""
    if "text" not in store.modalities:
        return features
    most = max(store.modalities["text"].header.length, 3)
    return features.model_copy(update={"text": features.text.model_copy(update={"max_length": most})})


def finished(parts: Sequence[CorruptedClips], clean: Store, features: Features, provenance: dict) -> CorruptedClips:
    """Put the shards of a kind together, and measure the clean clips as severity 0.

    With ``features.vision.centre: speaker``, the mean of a speaker is that of the corrupted clips.
    """
    whole = CorruptedClips.joined(parts, provenance)
    rows = clean.samples.reset_index(drop=True).set_index("id").index.get_indexer(whole.ids)
    sequences = dict(whole.sequences)
    if features.vision.centre == "speaker":
        from elision.features.vision import centre

        speakers = clean.samples["speaker"].to_numpy()[rows]
        for key in (key for key in sequences if key[1] == "vision"):
            found = sequences[key]
            timed = None if found.times is None else [found.times_of(row) for row in range(len(found))]
            sequences[key] = Sequences.of(centre(found, speakers), found.header, timed)
    spoken = clean.samples["wer"].to_numpy()[rows] if "wer" in clean.samples and "text" in whole.modalities else None
    measured = []
    for place, (name, row) in enumerate(zip(whole.ids, rows, strict=True)):
        found = {} if spoken is None else {"wer": float(spoken[place])}
        for each in (clean.modalities[modality] for modality in whole.modalities):
            found |= measured_of(each.header, each[row], each.header.facts.get(name))
        measured.append({"id": name, "severity": 0, **found})
    return replace(whole, sequences=sequences, measured=[*measured, *whole.measured])
