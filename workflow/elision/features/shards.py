"""The extract step: features of one shard of the clips, and the merging of shards into a store."""

import fcntl
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from elision.corruption.medium import At
from elision.datasets._prepare import finish, write_samples
from elision.errors import ElisionError, plural
from elision.features import facts, text
from elision.progress import track
from elision.provenance.recipe import check, check_data
from elision.provenance.versions import differing, joined, of_all
from elision.settings.params import DatasetSettings, Features, extracting
from elision.store import Extracted, Header, Sequences, read_sequences, read_table, write_sequences

_NO_LIMIT = 10**6  # tokens
SKIPPED = "skipped"  # the split of a clip that failed: it is in no other


def shard_rows(count: int, shard: int, shards: int) -> slice:
    """Return the rows of a shard: contiguous, and as even as can be."""
    return slice(count * shard // shards, count * (shard + 1) // shards)


def extract(
    modality: str,
    *,
    clips: Path,
    clips_recipe: dict,
    shard: int,
    features: Features,
    output: Path,
    provenance: dict,
    merged: Path | None = None,
    media: Mapping[str, At] = MappingProxyType({}),
    seed: int = 0,
) -> None:
    """Extract one modality of one shard.

    Parameters
    ----------
    modality : str
        ``text``, ``audio`` or ``vision``.
    clips : Path
        Table of the clips.
    clips_recipe : dict
        What the table must have been made by.
    shard : int
        From 0 to ``features.shards`` - 1.
    features : Features
    output : Path
        The sequences of the shard; clips that failed stand in ``failed`` of the header's settings.
    provenance : dict
    merged : Path, optional
        Sequences of all shards that were made earlier in the same way; the shard is cut from them, if they are of the
        same clips.
    media : mapping of str to At
        Kinds of corruption, which all clips undergo before extraction (``datasets.NAME.media``).
    seed : int
        Of this corruption.

    Raises
    ------
    ElisionError
        If a clip fails and ``features.on_error`` is ``stop``.
    """
    table, found = read_table(clips)
    check(found, clips_recipe, clips)
    part = shard_rows(len(table), shard, features.shards)
    rows = table.iloc[part]
    if merged and (made := read_sequences(merged)).header.provenance.get("clips") == found["data"]:
        here = set(rows["id"])
        failed = {i: why for i, why in made.header.settings["failed"].items() if i in here}
        kept = {i: found for i, found in made.header.facts.items() if i in here}
        update = {"settings": {**made.header.settings, "failed": failed}, "facts": kept}
        cut = made.part(part.start, part.stop)
        write_sequences(output, replace(cut, header=made.header.model_copy(update=update)))
        return
    if modality == "vision" and "openface" in table:
        describe, header = _module("openface").reader(table, features)
    elif media:
        corrupted = _module("corrupted")
        corruptor = corrupted.Corruptor(table, features, seed=seed)
        describe, header = corruptor.describer(modality, corrupted.steps_of(media)), corruptor.extractor(modality)[1]
    else:
        describe, header = extractor(modality, features)
    extracted, failed = [], {}
    for clip in track(list(rows.itertuples()), f"extract {modality}, shard {shard + 1} of {features.shards}"):
        try:
            extracted.append(describe(clip))
        except ElisionError as error:
            if features.on_error == "stop":
                raise ElisionError(
                    f"clip {clip.id!r}: {error}\nRepair or remove it, or set features.on_error: skip in params.yaml"
                ) from error
            print(f"skipped clip {clip.id!r}: {error}", file=sys.stderr)
            failed[clip.id] = str(error)
            extracted.append(describe(None))
    if modality == "text" and features.text.recogniser:
        _compare(rows, extracted, failed)
    header.settings = {**header.settings, "failed": failed}
    header.facts = {i: each.facts for i, each in zip(rows["id"], extracted, strict=True) if each.facts}
    header.provenance = {**provenance, "clips": found["data"]}
    # A shard without clips still has values of the right width.
    values, times, _ = zip(*extracted, describe(None), strict=True)
    whole = Sequences.of(values, header, None if times[-1] is None else times)
    write_sequences(output, whole.part(0, len(extracted)))


@dataclass(frozen=True)
class Extractor:
    """Turns a clip (None: no data) into what is `Extracted`, in two steps, between which a clip can be corrupted.

    Attributes
    ----------
    read : callable
        From a clip, which has ``text``, ``path``, ``has_audio`` and ``has_vision``, as a row of the table of clips, to
        its words, its `audio.Sound` or its `vision.Pictures`; None where the clip has none.
    describe : callable
        From what is read to what is `Extracted`.
    """

    read: Callable[[Any], Any]
    describe: Callable[[Any], Extracted]

    def __call__(self, clip: Any) -> Extracted:
        """Extract a clip."""
        return self.describe(self.read(clip))


def extractor(modality: str, features: Features) -> tuple[Extractor, Header]:
    """Return what extracts a modality, and the header of its sequences, whose length is the largest that is allowed."""
    if modality == "text":
        settings = features.text
        special = text.special_tokens(settings.encoder)

        def tokens(words: str | None) -> Extracted:
            ids = text.extract(words, encoder=settings.encoder, max_length=settings.max_length)
            found: dict[str, Any] = {"words": words or ""} if settings.recogniser else {}
            if len(ids) == settings.max_length:
                whole = len(text.extract(words, encoder=settings.encoder, max_length=_NO_LIMIT))
                found |= {"tokens": whole} if whole > len(ids) else {}
            return Extracted(ids, facts=found)

        header = Header(
            modality=modality,
            length=settings.max_length,
            extractor=settings.encoder,
            settings={**settings.tokens(), **special},
        )
        return Extractor(_words(features), tokens), header

    settings = getattr(features, modality)
    named = extracting(modality, settings.extractor)
    if modality == "audio":
        with _alone():
            module = _module(named)
            module.prepare(settings)
    else:
        module = _module(named)
    names = module.feature_names(settings)
    (other,) = {"audio", "vision"} - {modality}
    timed = modality == "vision" and settings.pool == "frames"
    nothing = Extracted(np.zeros((0, len(names)), np.float32), np.zeros(0) if timed else None)

    def read(clip: Any) -> Any:
        if clip is None or clip.path is None or not getattr(clip, f"has_{modality}"):
            return None
        return module.read(Path(clip.path), settings, **{other: getattr(features, other)})

    of_signal = module.of_sound if modality == "audio" else module.of_pictures

    header = Header(
        modality=modality,
        length=settings.max_length or sys.maxsize,
        rate=module.frame_rate(settings),
        features=names,
        extractor=module.extractor(settings),
        version=module.version(settings),
        settings=module.described(settings),
    )
    return Extractor(read, lambda signal: nothing if signal is None else of_signal(signal, settings)), header


def _words(features: Features) -> Callable[[Any], str | None]:
    """Return what gives the words of a clip: its transcript, or what a recogniser hears in its sound."""
    if not features.text.recogniser:
        return lambda clip: clip and clip.text
    rate = features.audio.sample_rate
    heard = _module("recognise").recogniser(features.text.recogniser, sample_rate=rate)
    media = _module("media")

    def words(clip: Any) -> str | None:
        if clip is None or clip.path is None or not clip.has_audio:
            return None
        end = media.kept_until(clip.path, audio=features.audio, vision=features.vision)
        sound = media.read_audio(clip.path, sample_rate=rate, end=end)
        return None if sound is None else heard(sound)

    return words


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time import and compile what Numba keeps on disk.

    Two processes that fill its cache together can leave one that crashes every later process (numba issue 10128). The
    lock lies where Numba puts the cache: beside the code, or, where that is read-only, in the user's home.
    """
    spec = importlib.util.find_spec("numba")
    folders = [Path(spec.origin).parent, Path.home() / ".cache"]
    folder = next((folder for folder in folders if os.access(folder, os.W_OK)), Path.cwd())
    with (folder / ".elision-compiles.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _module(modality: str) -> ModuleType:
    # Imported by name, so that the code of one modality is no part of the recipe of another.
    return importlib.import_module(f"elision.features.{modality}")


def merge(modality: str, shards: list[Path], *, clips: Path, features: Features, output: Path, recipe: dict) -> None:
    """Merge the shards of one modality.

    The padded length becomes the length of the longest sequence. What was cut, filled, chosen or not found is printed.

    Parameters
    ----------
    modality : str
    shards : list of Path
        In order.
    clips : Path
        Table of the clips.
    features : Features
    output : Path
    recipe : dict
        What the shards must have been made by, and provenance of the result.

    Raises
    ------
    ElisionError
        If a shard is stale, or the shards do not hold a sequence per clip.
    """
    table, found = read_table(clips)
    parts = [read_sequences(path) for path in shards]
    for part, path in zip(parts, shards, strict=True):
        check(part.header.provenance, recipe, path)
        check_data(part.header.provenance["clips"], found["data"], path)
    sequences = [sequence for part in parts for sequence in part]
    if len(sequences) != len(table):
        raise ElisionError(
            f"{clips}: {len(table)} clips, but the shards of {modality} hold {len(sequences)}; "
            f"delete {shards[0].parent} and run again"
        )
    if modality == "vision" and features.vision.centre == "speaker":
        sequences = _module("vision").centre(sequences, table["speaker"].tolist())
    times = None if parts[0].times is None else [part.times_of(i) for part in parts for i in range(len(part))]
    header = parts[0].header.model_copy()
    header.length = max(1, max(len(sequence) for sequence in sequences))
    failed = {clip: message for part in parts for clip, message in part.header.settings["failed"].items()}
    header.settings = {**header.settings, "failed": failed}
    libraries = joined(part.header.provenance.get("versions", {}) for part in parts)
    header.provenance = {**header.provenance, "versions": libraries}
    if differ := differing(libraries):
        print(f"{output}: shards were extracted with different versions ({differ})", file=sys.stderr)
    header.facts = {clip: found for part in parts for clip, found in part.header.facts.items()}
    whole = Sequences.of(sequences, header, times)
    write_sequences(output, whole)
    print(f"{modality}: {plural(len(whole), 'sequence')}, padded to {header.length}, the length of the longest")
    for sentence in facts.sentences(whole, table["id"].tolist()):
        print(f"{modality}: {sentence}")
    if told := facts.warning(whole):
        print(f"warning: {told}", file=sys.stderr)


def assemble(
    *,
    settings: DatasetSettings,
    clips: Path,
    modalities: dict[str, Path],
    recipes: dict[str, dict],
    output: Path,
    provenance: dict,
) -> None:
    """Assemble a store: write the table of samples, with classes and folds.

    A clip that failed in a modality (``features.on_error: skip``) stays in the table, in no split. The columns of
    `_read` tell how each clip was read; the provenance has sentences about all (``read``), and warnings (``warnings``).

    Parameters
    ----------
    settings : DatasetSettings
    clips : Path
        Table of the clips.
    modalities : dict of str to Path
        Sequences of each modality.
    recipes : dict of str to dict
        What they must have been made by.
    output : Path
    provenance : dict
    """
    table, found = read_table(clips)
    read = {name: read_sequences(path) for name, path in modalities.items()}
    for name, sequences in read.items():
        check(sequences.header.provenance, recipes[name], modalities[name])
        check_data(sequences.header.provenance["clips"], found["data"], modalities[name])
    failed = sorted({clip for sequences in read.values() for clip in sequences.header.settings["failed"]})
    if failed:
        print(f"left out {plural(len(failed), 'clip')} that failed: {', '.join(failed)}", file=sys.stderr)
        table.loc[table["id"].isin(failed), "split"] = SKIPPED
    table, classes = finish(table, settings, str(output))
    of_files = [name for name in table if name.startswith("openface")]
    samples = table.drop(columns=["path", "has_audio", "has_vision", "sha256", *of_files])
    samples = samples.assign(**_read(read, table["id"]))
    heard = _recognised(read["text"], table) if "text" in read else None
    if heard is not None:  # word times are those of the transcript
        samples = samples.assign(**heard, **({"words": None} if "words" in samples else {}))
    ids = table["id"].tolist()
    said = [] if heard is None else [_told_recognised(heard["wer"], read["text"])]
    for sentence in said:
        print(f"text: {sentence}")
    said += [sentence for sequences in read.values() for sentence in facts.sentences(sequences, ids)]
    warnings = [told for sequences in read.values() if (told := facts.warning(sequences))]
    made_with = of_all(found)
    for sequences in read.values():
        made_with |= of_all(sequences.header.provenance)
    write_samples(
        output,
        samples,
        read,
        {
            **provenance,
            "made_with": made_with,
            "clips": found["data"],
            "skipped": failed,
            "classes": classes,
            "read": said,
            "warnings": warnings,
        },
    )


def _compare(rows: pd.DataFrame, extracted: Sequence[Extracted], failed: Collection[str]) -> None:
    """Note how far recognised words are from the transcripts: ``wer``, the word error rate in percent."""
    word_error_rate = _module("recognise").word_error_rate
    for clip, each in zip(rows.itertuples(), extracted, strict=True):
        if clip.text and clip.has_audio and clip.id not in failed:
            each.facts["wer"] = 100 * word_error_rate(clip.text, each.facts["words"])


def _recognised(text: Sequences, table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the words that were recognised (``text``; None without sound), and how far the transcript is (``wer``).

    ``wer`` is NaN for a clip without a transcript. None: transcripts are read.
    """
    if not text.header.settings.get("recogniser"):
        return None
    facts_of = [text.header.facts.get(clip, {}) for clip in table["id"]]
    heard = [found.get("words") if has else None for found, has in zip(facts_of, table["has_audio"], strict=True)]
    rates = [found.get("wer", np.nan) for found in facts_of]
    return pd.DataFrame({"text": pd.Series(heard, table.index, dtype=object), "wer": rates}, table.index)


def _told_recognised(rates: pd.Series, text: Sequences) -> str:
    known = rates.dropna()
    error = f"their mean word error rate is {known.mean():.1f} % in {plural(len(known), 'clip')} with a transcript"
    clips = plural(int((text.lengths > 0).sum()), "clip")
    who = text.header.settings["recogniser"]
    return f"{who} recognised the words of {clips}; {error if len(known) else 'no clip has a transcript'}."


def _read(read: dict[str, Sequences], ids: pd.Series) -> dict[str, np.ndarray]:
    """Return columns that tell how each clip was read.

    ``cut_at``: second after which audio and vision are left out, NaN for none; ``tokens_left_out``; ``filled``: seconds
    of silence where the audio track has no samples; ``silent``: whether the audio is nothing but silence; ``faces``:
    share of the video frames with the face of the person followed, NaN without a video; ``other_faces``: frames with
    the face of another person.
    """

    def fact(name: str, default: float, *modalities: str) -> np.ndarray:
        found = [read[modality].header.facts for modality in modalities if modality in read]
        return np.array([next((f[i][name] for f in found if name in f.get(i, ())), default) for i in ids])

    tokens = fact("tokens", 0, "text")
    columns = {
        "cut_at": fact("cut", np.nan, "audio", "vision").astype(np.float64),
        "tokens_left_out": np.where(tokens > 0, tokens - (read["text"].lengths if "text" in read else 0), 0),
        "filled": fact("filled", 0.0, "audio").astype(np.float64),
        "silent": fact("silent", False, "audio").astype(bool),
        "other_faces": fact("others", 0, "vision"),
    }
    if "vision" not in read:
        return columns
    filled = fact("filled_frames", 0, "vision") / np.maximum(read["vision"].lengths, 1)
    return columns | {"faces": facts.share_of_faces(read["vision"]) - filled}
