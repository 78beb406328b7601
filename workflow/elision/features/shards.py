"""The extract step: features of one shard of the clips, and the merging of shards into a store."""

import fcntl
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from elision.datasets._prepare import finish, write_samples
from elision.errors import ElisionError, plural
from elision.features import text
from elision.progress import track
from elision.provenance.recipe import check, check_data
from elision.provenance.versions import differing, joined, of_all
from elision.settings.params import DatasetSettings, Features
from elision.store import Header, Sequences, read_sequences, read_table, write_sequences

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
) -> None:
    """Extract one modality of one shard.

    Parameters
    ----------
    modality : str
        ``text``, ``audio``, ``vision``, or ``text_features`` (frozen hidden states of the text encoder).
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
        failed = {i: why for i, why in made.header.settings["failed"].items() if i in set(rows["id"])}
        header = made.header.model_copy(update={"settings": {**made.header.settings, "failed": failed}})
        empty = made.values[:0]
        cut = Sequences.of([*list(made)[part], empty], header)
        write_sequences(output, cut.first(len(rows)))
        return
    if modality == "vision" and "openface" in table:
        describe, header = _module("openface").reader(table, centre=features.vision.centre == "clip")
    else:
        describe, header = extractor(modality, features)
    sequences, failed = [], {}
    for clip in track(list(rows.itertuples()), f"extract {modality}, shard {shard + 1} of {features.shards}"):
        try:
            sequences.append(describe(clip))
        except ElisionError as error:
            if features.on_error == "stop":
                raise ElisionError(
                    f"clip {clip.id!r}: {error}\nRepair or remove it, or set features.on_error: skip in params.yaml"
                ) from error
            print(f"skipped clip {clip.id!r}: {error}", file=sys.stderr)
            failed[clip.id] = str(error)
            sequences.append(describe(None))
    header.settings = {**header.settings, "failed": failed}
    header.provenance = {**provenance, "clips": found["data"]}
    # A shard without clips still has values of the right width.
    write_sequences(output, Sequences.of([*sequences, describe(None)], header).first(len(sequences)))


def extractor(modality: str, features: Features):  # noqa: ANN201
    """Return a function from a clip (None: no data) to its sequence, and the header of such sequences.

    A clip has ``text``, ``path``, ``has_audio`` and ``has_vision``, as a row of the table of clips. The padded length
    of the header is the largest that is allowed.
    """
    if modality in ("text", "text_features"):
        settings = features.text
        special = text.special_tokens(settings.encoder)

        def tokens(clip) -> np.ndarray:  # noqa: ANN001
            return text.extract(clip and clip.text, encoder=settings.encoder, max_length=settings.max_length)

        header = Header(
            modality=modality,
            length=settings.max_length,
            extractor=settings.encoder,
            settings={**settings.model_dump(exclude={"frozen"}), **special},
        )
        if modality == "text":
            return tokens, header
        return lambda clip: text.hidden_states(tokens(clip), encoder=settings.encoder), header

    settings = getattr(features, modality)
    if modality == "audio":
        with _alone():
            module = _module(modality)
            tone = np.sin(0.06 * np.arange(settings.sample_rate))  # voiced: every function is compiled
            module.describe(tone.astype(np.float32), settings)
    else:
        module = _module(modality)
    names = module.feature_names(settings)

    def values(clip) -> np.ndarray:  # noqa: ANN001
        if clip is None or clip.path is None or not getattr(clip, f"has_{modality}"):
            return np.zeros((0, len(names)), np.float32)
        return module.extract(Path(clip.path), settings)

    header = Header(
        modality=modality,
        length=settings.max_length or sys.maxsize,
        rate=module.frame_rate(settings),
        features=names,
        extractor=module.extractor(settings),
        version=module.version(settings),
        settings=settings.model_dump(),
    )
    return values, header


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

    The padded length becomes the length of the longest sequence.

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
        sequences = _module(modality).centre(sequences, table["speaker"].tolist())
    header = parts[0].header.model_copy()
    header.length = max(1, max(len(sequence) for sequence in sequences))
    failed = {clip: message for part in parts for clip, message in part.header.settings["failed"].items()}
    header.settings = {**header.settings, "failed": failed}
    libraries = joined(part.header.provenance.get("versions", {}) for part in parts)
    header.provenance = {**header.provenance, "versions": libraries}
    if differ := differing(libraries):
        print(f"{output}: shards were extracted with different versions ({differ})", file=sys.stderr)
    write_sequences(output, Sequences.of(sequences, header))


def complete(
    *,
    settings: DatasetSettings,
    clips: Path,
    modalities: dict[str, Path],
    recipes: dict[str, dict],
    output: Path,
    provenance: dict,
) -> None:
    """Write the table of samples that completes a store, with its classes and folds.

    A clip that failed in a modality (``features.on_error: skip``) stays in the table, in no split.

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
    made_with = of_all(found)
    for sequences in read.values():
        made_with |= of_all(sequences.header.provenance)
    write_samples(
        output,
        samples,
        read,
        {**provenance, "made_with": made_with, "clips": found["data"], "skipped": failed, "classes": classes},
    )
