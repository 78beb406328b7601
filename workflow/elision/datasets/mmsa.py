"""Feature files in the layout of MMSA: MOSI, MOSEI, CH-SIMS, CH-SIMS v2, and what MMSA-FET writes.

A file is a pickle of ``{"train": part, "valid": part, "test": part}``, with these keys in every part:

========================= ================================================================== ==================
``id``                    "video_id$_$clip_id"                                               N strings
``raw_text``              transcript                                                         N strings
``text_bert``             BERT's inputs: token ids, attention mask, token types              (N, 3, T)
``text``                  last hidden states of a frozen BERT, optional                      (N, T, 768)
``audio``, ``vision``     frames                                                             (N, T, d)
``audio_lengths``, ...    frames that are not padding; absent when aligned to the tokens     N integers
``regression_labels``     sentiment, in [-3, 3] (MOSI, MOSEI) or [-1, 1] (CH-SIMS)           (N,) or (N, 1)
``regression_labels_T``   sentiment of the text alone, and ``_A``, ``_V``; CH-SIMS           (N,) or (N, 1)
``annotations``           "Negative", "Neutral", "Positive"; written, not read               N strings
``classification_labels`` 0, 1, 2 for these; written, not read                               (N,)
========================= ================================================================== ==================

What the dimensions of the published files are is documented nowhere for MOSI (5 audio, 20 vision) and for the 35 vision
dimensions of MOSEI; those of CH-SIMS are librosa (33) and OpenFace (709).

Source: https://github.com/thuiar/MMSA (MIT), README and ``data_loader.py``.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from elision import pickles
from elision.datasets import _labels
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import ElisionError, plural
from elision.features.text import encoder_path
from elision.progress import track
from elision.settings.fields import Scaled
from elision.settings.params import AS_CORPUS, DatasetSettings, PublishedCorpus
from elision.store import Header, Sequences, Store
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"
DIALOGUES = True

__all__ = ["DIALOGUES", "MAKES", "Settings", "encoder", "export", "found", "inputs", "prepare"]

# SHA-256 of the published files (README of MMSA): corpus and name. None is published for CH-SIMS v2.
OFFICIAL = {
    "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524": ("mosi", "MOSI/Processed/unaligned_50.pkl"),
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": ("mosi", "MOSI/Processed/aligned_50.pkl"),
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": ("mosei", "MOSEI/Processed/unaligned_50.pkl"),
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": ("mosei", "MOSEI/Processed/aligned_50.pkl"),
    "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f": ("sims", "SIMS/Processed/unaligned_39.pkl"),
}
# The same in the English and the Chinese vocabulary of BERT.
_BERT = {"unk": 100, "cls": 101, "sep": 102, "pad": 0}
_VOCABULARIES = {"bert-base-uncased": 30522, "bert-base-chinese": 21128}
_LONGEST = 10**9  # frames
_SEPARATOR = "$_$"
_UNIMODAL = {"label_text": "T", "label_audio": "A", "label_vision": "V"}
_FRAMES = ("audio", "vision")
_TEXTS = ("id", "raw_text")
_NEEDED = ("id", "raw_text", "regression_labels")

log = logging.getLogger(__name__)


class Settings(DatasetSettings):
    """A feature file in the layout of MMSA."""

    source: Literal["mmsa"] = Field(description="a feature file in the layout of MMSA")
    file: Path = Field(description="the .pkl file")
    standardise: Scaled = Field(
        [], description="modalities that are scaled, as for other sources; false: use the file's numbers, as MMSA does"
    )
    encoder: str | None = Field(
        None,
        description="BERT whose token ids the file holds; null: bert-base-chinese for sims and simsv2, else "
        "bert-base-uncased",
    )
    audio_inf: Literal["zero", "error"] = Field(
        "zero", description="-inf in audio (COVAREP's logarithm of 0): zero, as MMSA does, or an error"
    )
    trim: bool = Field(
        False, description="pad batches to the longest sequence of the file; false: to the file's own padded length"
    )
    published: PublishedCorpus | None = AS_CORPUS


def inputs(settings: Settings) -> list[Path]:
    """Return the files that ``prepare`` reads."""
    return [settings.file]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise one ``.pkl`` file that is of no other source."""
    if len(folder.pickles) != 1 or folder.features is not None or _of_others(folder.content(folder.pickles[0])):
        return None
    return {"file": folder.pickles[0]}


def encoder(settings: Settings) -> str:
    """Name the BERT whose token ids the file holds."""
    return settings.encoder or ("bert-base-chinese" if settings.corpus.startswith("sims") else "bert-base-uncased")


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check a feature file.

    Peak memory is about the size of the file and of the largest modality without its padding.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split``, ``label``, ``label_text/audio/vision`` where the file has them, ``text``, ``speaker`` (the
        video: the id up to "$_$"), ``duration`` (unknown: NaN). In the file's order, train, valid, test.
    modalities : dict of str to Sequences
        ``text`` (token ids of the attention mask's positions), ``audio`` and ``vision`` (the frames of ``*_lengths``;
        length 0: the modality is absent; all as long as the text when the file is aligned) and ``text_features``.

    Raises
    ------
    ElisionError
        If the file cannot be read, or lists everything in it that is wrong: first of its structure, then of its values.
    """
    digest = hashlib.sha256()
    data = pickles.load(settings.file, digest=digest)
    sha256 = digest.hexdigest()
    official, name = OFFICIAL.get(sha256, (None, None))
    log.info("%s: %s, SHA-256 %s", settings.file, f"MMSA's {name}" if name else "no published file of MMSA", sha256)

    refuse(settings.file, _structure(data))
    for key in sorted(data.keys() - {*SPLITS, "config"}, key=str):
        log.warning("%s: %r beside train, valid and test is left out", settings.file, key)
    parts = {split: data[split] | {key: _cells(data[split][key]) for key in _TEXTS} for split in SPLITS}
    config = data.get("config") if isinstance(data.get("config"), dict) else {}
    del data

    problems = []
    if official and official != settings.corpus:
        problems.append(f"this is {name}, but corpus is {settings.corpus}; set corpus: {official} in params.yaml")
    samples, wrong = _samples(parts, settings)
    problems += wrong

    modalities, tokens = {}, [None] * len(parts)
    if "text_bert" in parts["train"]:
        modalities["text"], wrong = _text(parts, encoder(settings))
        problems += wrong
        tokens = np.split(modalities["text"].lengths, np.cumsum([len(part["id"]) for part in parts.values()])[:-1])
    for modality, key in (("audio", "audio"), ("vision", "vision"), ("text_features", "text")):
        if key not in parts["train"]:
            continue
        if key == "text" and "text" not in modalities:
            log.warning("%s: text is left out, because without text_bert its lengths are unknown", settings.file)
            continue
        lengths = [part.get(f"{key}_lengths", count) for part, count in zip(parts.values(), tokens, strict=True)]
        zero_inf = modality == "audio" and settings.audio_inf == "zero"
        modalities[modality], wrong = _frames(parts, key, lengths, zero_inf=zero_inf)
        modalities[modality].header.modality = modality
        problems += wrong
    refuse(settings.file, problems)

    for modality, sequences in modalities.items():
        header = sequences.header
        header.extractor = encoder(settings) if modality.startswith("text") else _extractor(config, modality)
        header.settings |= {"sha256": sha256, "published": name, "config": _json(config, modality)}
        if settings.trim:
            header.length = max(1, int(sequences.lengths.max()))
    return samples, modalities


def _extractor(config: dict, modality: str) -> str:
    tool = config.get("video" if modality == "vision" else modality)
    return f"MMSA-FET: {tool.get('tool')}" if isinstance(tool, dict) else "unknown (feature file)"


def _json(config: dict, modality: str) -> dict:
    key = {"text_features": "text", "vision": "video"}.get(modality, modality)
    return json.loads(json.dumps(config.get(key), default=str, skipkeys=True)) or {}


def _structure(data: object) -> list[str]:
    """Find what is wrong with keys, numbers of samples and shapes."""
    if other := _of_others(data):
        return [f"this is a file in the layout of {other[0]}; set source: {other[1]} in params.yaml"]
    if not isinstance(data, dict) or not set(SPLITS) <= data.keys():
        if isinstance(data, dict) and data.keys() & {"audio", "vision", "text"}:
            return [
                "it holds features without train, valid and test, and so no labels: MMSA-FET's run_single writes such "
                "files; make one with run_dataset and a label.csv"
            ]
        return ["it does not hold a dict with the keys train, valid and test"]
    if wrong := [split for split in SPLITS if not isinstance(data[split], dict)]:
        return [f"{split} is not a dict but {type(data[split]).__name__}" for split in wrong]

    keys = {key for split in SPLITS for key in data[split]}
    features = [key for key in ("text_bert", "text", *_FRAMES) if key in keys]
    problems = [problem for split in SPLITS for problem in _part_structure(split, data[split], features, keys)]
    if not set(features) - {"text"}:
        problems.append("there is none of text_bert, audio and vision")
    if problems:
        return problems

    for key in features:
        shapes = {split: data[split][key].shape for split in SPLITS}
        widths = {split: shape[2] for split, shape in shapes.items()}
        if key != "text_bert" and len(set(widths.values())) > 1:
            problems.append(f"{key}: the splits differ in dimensions: {widths}")
        if key == "text_bert" or f"{key}_lengths" in keys:
            continue
        if "text_bert" not in features:
            problems += [f"no {key}_lengths, and no text_bert that it could be aligned to"] if key != "text" else []
            continue
        for split, (_, frames, _) in shapes.items():
            tokens = data[split]["text_bert"].shape[2]
            if frames != tokens:
                problems.append(
                    f"{split}: no {key}_lengths, so {key} should have a frame per token, but it has "
                    f"{plural(frames, 'frame')} for {plural(tokens, 'token')}"
                )
    return problems


def _of_others(data: object) -> tuple[str, str] | None:
    """Name the layout of a file of others, and the source that reads it; None: none that is known."""
    if not isinstance(data, dict) or "train" not in data:
        return None
    train = data["train"]
    if "dev" in data and isinstance(train, list | tuple):
        return "MAG-BERT", "magbert"
    if isinstance(train, dict) and {"text", "labels"} <= train.keys() and "regression_labels" not in train:
        return "MulT", "mult"
    return None


def _part_structure(split: str, part: dict, features: list[str], keys: set[str]) -> list[str]:
    """Find what is wrong with the structure of one split; ``keys`` are those of all splits."""
    optional = [f"{m}_lengths" for m in _FRAMES] + [f"regression_labels_{letter}" for letter in _UNIMODAL.values()]
    needed = [*_NEEDED, *features, *(key for key in optional if key in keys)]
    problems, counts = [], {}
    if missing := [key for key in needed if key not in part]:
        problems.append(f"{split}: no {', '.join(missing)}")
    for key in (key for key in needed if key in part):
        value = part[key]
        if key in _TEXTS:
            try:
                counts[key] = len(_cells(value))
            except ElisionError as error:
                problems.append(f"{split}: {key} {error}")
            continue
        array = value if key in features else _numbers(value)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            problems.append(f"{split}: {key} is not an array of numbers")
            continue
        shape = array.shape
        counts[key] = len(array) if shape else 0
        if key not in features:
            expected, fits = "(N,)", len(shape) == 1 or shape[1:] == (1,)
        elif key == "text_bert":
            expected, fits = "(N, 3, T)", len(shape) == 3 and shape[1] == 3 and shape[2] > 0
        else:
            expected, fits = "(N, T, d)", len(shape) == 3 and 0 not in shape[1:]
        if not fits:
            problems.append(f"{split}: {key} has shape {shape}, not {expected}")
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{key} {count}" for key, count in counts.items())
        problems.append(f"{split}: the numbers of samples differ: {found}")
    elif not any(counts.values()):
        problems.append(f"{split}: no samples; every split needs some")
    return problems


def _cells(value: object) -> list[str]:
    """Return ids or transcripts as text."""
    if not (isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)):
        raise ElisionError(f"is not a list of texts but {type(value).__name__}")
    items = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
    cells = [text_of(item) for item in items]
    if wrong := [number for number, cell in enumerate(cells, 1) if cell is None]:
        kinds = ", ".join(sorted({type(items[number - 1]).__name__ for number in wrong}))
        raise ElisionError(f"of {plural(len(wrong), 'sample')} is {kinds}, not text: number {some(wrong)}")
    return cells


def _numbers(value: object) -> np.ndarray | None:
    """Return labels or lengths as float64; None: they are no numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "SUO":
            cells = [np.nan if _labels.is_none(cell) else cell for cell in array.flat]
            array = np.array(cells, dtype=object).reshape(array.shape)
        return array.astype(np.float64) if array.dtype.kind in "biufSUO" else None
    except (TypeError, ValueError, OverflowError, MemoryError):
        return None


def _vocabulary(encoder: str) -> int | None:
    """Return how many token ids an encoder has, if this machine knows."""
    if encoder in _VOCABULARIES:
        return _VOCABULARIES[encoder]
    try:
        settings = Path(encoder_path(encoder)) / "config.json"
        return int(json.loads(settings.read_text())["vocab_size"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _samples(parts: dict[str, dict], settings: Settings) -> "tuple[pd.DataFrame, list[str]]":
    """Make the table of samples, and find what is wrong with ids and labels."""
    import pandas as pd

    names = {"label": "regression_labels"} | {
        column: f"regression_labels_{letter}"
        for column, letter in _UNIMODAL.items()
        if f"regression_labels_{letter}" in parts["train"]
    }
    problems, tables = [], []
    for split, part in parts.items():
        ids = part["id"]
        table = {"id": ids, "split": split}
        for column, key in names.items():
            table[column] = _numbers(part[key]).reshape(-1)
            bad = _labels.outside(table[column], settings)
            if bad.any():
                values = ", ".join(f"{ids[i]!r} {table[column][i]:g}" for i in np.flatnonzero(bad)[:3])
                problems.append(
                    f"{split}: {plural(int(bad.sum()), 'sample')} with {key} outside "
                    f"{_labels.interval(settings)} ({values}); is corpus right in params.yaml?"
                )
        problems += [f"{split}: {problem}" for problem in odd_ids(ids)]
        table["text"] = part["raw_text"]
        videos = [i.split(_SEPARATOR)[0] or None if _SEPARATOR in i else None for i in ids]
        table["speaker"] = pd.Series(videos, dtype=object)
        tables.append(pd.DataFrame(table).assign(duration=np.nan))
    samples = pd.concat(tables, ignore_index=True)
    for sample, same in samples[samples["id"].duplicated(keep=False)].groupby("id", sort=False):
        problems.append(f"{sample!r} is the id of {len(same)} samples, in {', '.join(same['split'].unique())}")
    return samples, problems


def _text(parts: dict[str, dict], encoder: str) -> tuple[Sequences, list[str]]:
    """Take the token ids, without padding, out of ``text_bert``."""
    problems, tokens, length, cut, empty = [], [], 1, 0, 0
    vocabulary = _vocabulary(encoder)
    if not vocabulary:
        log.warning("text_bert: encoder %s is not on this machine, so token ids are not compared with it", encoder)
    for split, part in parts.items():
        ids, mask = np.moveaxis(part.pop("text_bert"), 1, 0)[:2]
        width = mask.shape[1]
        lengths = (mask != 0).sum(1)
        rows = np.arange(len(ids))
        with np.errstate(invalid="ignore"):
            whole = ids.astype(np.int32)
        last = whole[rows, lengths - 1]
        # A writer that cuts a transcript at the padded length takes the [SEP] away: MMSA-FET does.
        cut += int(((lengths == width) & (last != _BERT["sep"])).sum())
        empty += int((lengths == 2).sum())
        ones = np.arange(width) < lengths[:, None]
        unknown = (whole < 0) | (whole >= vocabulary) if vocabulary else whole < 0
        range_of = f"0 to {vocabulary - 1}" if vocabulary else "0 or more"
        checks = {
            "an attention mask that is not ones followed by zeros": (mask != ones).any(1),
            "fewer tokens than [CLS] and [SEP]": lengths < 2,
            "token ids that are not whole numbers": (whole != ids).any(1),
            f"token ids that {encoder} does not have ({range_of})": (unknown & ones).any(1),
            "a first token that is not [CLS] (101)": whole[:, 0] != _BERT["cls"],
            "a last token that is not [SEP] (102)": (last != _BERT["sep"]) & (lengths < width),
        }
        for what, bad in checks.items():
            if bad.any():
                samples = some([part["id"][i] for i in np.flatnonzero(bad)])
                problems.append(f"{split}: text_bert of {plural(int(bad.sum()), 'sample')} has {what}: {samples}")
        tokens += [row[:n] for row, n in zip(whole, lengths, strict=True)]
        length = max(length, width)
    if cut:
        log.info("text_bert: %s cut by the writer at the padded length, without [SEP]", plural(cut, "transcript"))
    if empty:
        log.info("text_bert: %s without words", plural(empty, "transcript"))
    header = Header(modality="text", length=length, extractor=encoder, settings={"encoder": encoder, **_BERT})
    return Sequences.of(tokens, header), problems


def _frames(parts: dict[str, dict], key: str, lengths: list, *, zero_inf: bool) -> tuple[Sequences, list[str]]:
    """Take the frames of one modality, without padding, out of the parts, which lose them to free memory."""
    problems, sequences, length = [], [], 1
    counts = dict.fromkeys(("longer than the file's padding, cut", "absent", "not zero beyond the length, cut"), 0)
    infinite = 0
    for (split, part), given in zip(parts.items(), lengths, strict=True):
        values = part.pop(key)
        width = values.shape[1]
        numbers = _numbers(given).reshape(-1)
        right = (numbers >= 0) & (numbers <= _LONGEST) & (np.floor(numbers) == numbers)
        if bad := [i for i, is_right in zip(part["id"], right, strict=True) if not is_right]:
            problems.append(f"{split}: {key}_lengths of {some(bad)} are not whole numbers from 0 (to {_LONGEST})")
            continue
        if _is_transposed(values, numbers):
            problems.append(
                f"{split}: {key} has shape {values.shape}, of which the last number, not the second, fits "
                f"{key}_lengths; swap the axes and save the file again: part[{key!r}] = "
                f"part[{key!r}].swapaxes(1, 2)"
            )
            continue
        broken = []
        for sample, frames, n in zip(
            track(part["id"], f"read {key} of {split}", len(numbers)), values, numbers.astype(int), strict=True
        ):
            with np.errstate(over="ignore"):
                kept = frames[:n].astype(np.float32)
            if zero_inf and (low := np.isneginf(kept)).any():
                kept[low] = 0
                infinite += int(low.sum())
            if not np.isfinite(kept).all():
                broken.append(sample)
            for what, found in zip(counts, (n > width, n == 0, frames[n:].any()), strict=True):
                counts[what] += bool(found)
            sequences.append(kept)
        del values
        if broken:
            problems.append(
                f"{split}: {key} of {plural(len(broken), 'sample')} holds nan or inf: {some(broken)}; "
                "extract these again, or write 0 there"
            )
        length = max(length, width)
    for what, count in counts.items():
        if count:
            log.info("%s: %s %s", key, plural(count, "sample"), what)
    if infinite:
        log.info("%s: %s changed from -inf to 0", key, plural(infinite, "value"))
    header = Header(modality=key, length=length, extractor="", settings={"minus_infinity_zeroed": infinite})
    return Sequences.of(sequences or [np.zeros((0, 1), np.float32)], header), problems


def _is_transposed(values: np.ndarray, lengths: np.ndarray) -> bool:
    """Tell whether an array is (N, d, T): lengths do not fit the second axis, and the last axis is zero beyond them."""
    if (lengths > values.shape[2]).any():
        return False
    pairs = list(zip(values, lengths.astype(int), strict=True))
    if any(array[:, n:].any() for array, n in pairs):
        return False
    return bool((lengths > values.shape[1]).any() or any(array[n:].any() for array, n in pairs))


def export(folder: Path, file: Path, *, vectors: Sequences | None = None) -> None:
    """Write a store as a feature file that MMSA, and ``prepare``, read.

    Every key of the layout is written, with arrays of float32, C-contiguous and zero beyond the lengths. What the
    layout cannot say is lost: a frame that was not observed becomes zeros; an absent modality one frame of zeros; a
    missing or empty transcript "[CLS] [UNK] [SEP]"; annotations and classes are the sign of the label; token types are
    0; lengths are written for aligned data too. A modality that the store does not have is left out and logged, as is
    ``text`` without text vectors (MMSA's models with ``use_bert`` off need it).

    Parameters
    ----------
    folder : Path
        Of the store.
    file : Path
        The .pkl file to write.
    vectors : Sequences, optional
        Text vectors that were made of the store's tokens.

    Raises
    ------
    ElisionError
        If the dataset has folds or classes, or the token ids are not BERT's.
    """
    import pandas as pd

    store = Store.open(folder)
    if vectors is not None:
        store.modalities["text_features"] = vectors
    if "split" not in store.samples or not pd.api.types.is_numeric_dtype(store.samples["label"]):
        raise ElisionError(f"{folder}: the layout of MMSA holds sentiment scores in train, valid and test only")
    text = store.modalities.get("text")
    if text is not None and any(len(ids) and ids[0] != _BERT["cls"] for ids in text):
        raise ElisionError(
            f"{folder}: the token ids are those of {text.header.extractor}, not of a BERT; set features.text.encoder: "
            "bert-base-uncased in params.yaml and extract the text again"
        )
    keys = {"text_features": "text", "audio": "audio", "vision": "vision"}
    for modality, key in {"text": "text_bert", **keys}.items():
        if modality not in store.modalities:
            log.warning("%s: %s is left out, because %s has no %s", file, key, folder, modality)

    content = {}
    for split in track(SPLITS, f"export to {file.name}"):
        rows = store.rows(split)
        samples = store.samples.iloc[rows]
        sign = np.sign(samples["label"].to_numpy(np.float64)).astype(np.int64) + 1
        part = {
            "id": _video_clip_ids(samples),
            "raw_text": samples["text"].fillna("").tolist(),
            "annotations": [("Negative", "Neutral", "Positive")[i] for i in sign],
            "classification_labels": sign,
            "regression_labels": samples["label"].to_numpy(np.float32),
        }
        for column, letter in _UNIMODAL.items():
            if column in samples:
                part[f"regression_labels_{letter}"] = samples[column].to_numpy(np.float32)
        if text is not None:
            part["text_bert"] = _bert_inputs([text[row] for row in rows], text.header.length)
        for modality in (name for name in keys if name in store.modalities):
            sequences = store.modalities[modality]
            length = part["text_bert"].shape[2] if modality == "text_features" else sequences.header.length
            array = np.zeros((len(rows), length, sequences.width), np.float32)
            for frames, row in zip(array, rows, strict=True):
                values = sequences[row]
                frames[: len(values)] = np.where(np.isnan(values).any(1, keepdims=True), np.float32(0), values)
            part[keys[modality]] = array
            if modality in _FRAMES:
                part[f"{modality}_lengths"] = [max(1, int(n)) for n in sequences.lengths[rows]]
        content[split] = part
    pickles.dump(content, file)


def _video_clip_ids(samples: "pd.DataFrame") -> list[str]:
    videos = samples["speaker"].where(samples["speaker"].notna(), samples["id"])
    return [
        clip if _SEPARATOR in clip else f"{video}{_SEPARATOR}{clip}"
        for video, clip in zip(videos, samples["id"], strict=True)
    ]


def _bert_inputs(sequences: list[np.ndarray], length: int) -> np.ndarray:
    """Return token ids, attention mask and token types [shape=(N, 3, T), dtype=float32]."""
    unknown = np.array([_BERT["cls"], _BERT["unk"], _BERT["sep"]])
    array = np.zeros((len(sequences), 3, max(length, len(unknown))), np.float32)
    for inputs_of_one, ids in zip(array, sequences, strict=True):
        ids = ids if len(ids) >= len(unknown) else unknown
        inputs_of_one[0, : len(ids)] = ids
        inputs_of_one[1, : len(ids)] = 1
    return array
