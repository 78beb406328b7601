"""Ask a trained run about clips: features as for its training, then predictions with more and less of them missing.

Nothing but the folder of the run is needed (of a method that retrieves, its database as well): no params, no dataset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from scipy.special import softmax

import elision
from elision.corruption import medium
from elision.corruption.kind import Condition, Drawn
from elision.corruption.plan import conditions, draw
from elision.errors import ElisionError
from elision.evaluation.loaded import Loaded, changed, check_code, modules
from elision.features.align import spans_of
from elision.features.corrupted import Corruptor, concerned, defined
from elision.features.encode import vectors_of
from elision.features.shards import Extractor, extractor
from elision.methods.base import Method
from elision.progress import track
from elision.provenance.versions import versions
from elision.settings.fields import Section
from elision.settings.params import (
    AudioFeatures,
    Corruption,
    Features,
    TextFeatures,
    VisionFeatures,
)
from elision.store import Extracted, Header, Sequences, Store
from elision.task import MODALITIES, TaskKind
from elision.training.record import Record
from elision.training.run import Assembled, predict
from elision.training.selection import VALID
from elision.training.view import Scale, View, recorded_scales

RATES = (0.1, 0.5, 0.9)
SEED = int(Corruption().seed)

_SETTINGS: dict[str, type[Section]] = {"text": TextFeatures, "audio": AudioFeatures, "vision": VisionFeatures}
_LEAST = {"text": 3, "audio": 1, "vision": 1}  # that max_length may be


@dataclass(frozen=True)
class Trained:
    """A trained run that can be asked.

    Attributes
    ----------
    folder : Path
    record : Record
    model : Method
        With the weights that were chosen on validation data.
    assembled : Assembled
    scales : dict of str to Scale
    accept_code : bool
    """

    folder: Path
    record: Record
    model: Method
    assembled: Assembled
    scales: dict[str, Scale]
    accept_code: bool = False

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto", accept_code: bool = False) -> "Trained":
        """Build the model of a run and load its weights.

        Parameters
        ----------
        folder : Path
            ``results/models/DATASET/METHOD/RUN``, or a copy of it.
        device : str
            As ``train.device``.
        accept_code : bool
            Ask the run though the code has changed since its training; `notes` says so.

        Raises
        ------
        ElisionError
            If the run cannot be read, if it was trained on features that no clip can be turned into, or by other code
            than is here, or if its text encoder or retrieval database is missing.
        """
        record = Record.read(folder)
        if not record.extracted:
            raise ElisionError(
                f"{folder}: the model was trained on {record.dataset!r}, a dataset of features (source "
                f"{record.source}). Elision cannot extract such features from clips; use a model trained on clips"
            )
        found = Loaded.open(folder, device=device, accept_code=accept_code)
        if not found.model.one_by_one:
            raise ElisionError(
                f"{folder}: with these hyperparameters, a prediction of {record.method} depends on the other clips of "
                "the batch; use a model that predicts each utterance alone"
            )
        scales = recorded_scales(record.model_dump())
        return cls(folder, record, found.model, found.assembled, scales, accept_code)

    @property
    def view(self) -> View:
        """What the model sees."""
        return self.assembled.view

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model sees and its dataset had."""
        return tuple(name for name in MODALITIES if name in self.record.present and name in self.view.modalities)

    def headers(self) -> dict[str, Header]:
        """Return the headers of the sequences that the model sees, or is aligned by, by their names in a store."""
        names = {*self.view.modalities}
        if self.view.alignment != "none":
            names.add("text")
        if self.view.reads_text == "vectors" and "text" in self.view.modalities:
            names.add("text_features")
        return {name: header for name, header in self.record.sequences.items() if name in names}

    def notes(self, extracted: list[str]) -> list[str]:
        """Say what the data of the training were, if no one was recorded; which code was accepted; and other libraries.

        Parameters
        ----------
        extracted : list of str
            Modalities whose features are extracted.
        """
        differ = changed(self.record, [*modules(self.record), *extracted]) if self.accept_code else []
        made = f"the model was trained on synthetic data (source {self.record.source})"
        accepted = [f"the code of {', '.join(differ)} has changed since the training; you accepted the new code"]
        here = versions("train")
        return [
            *([f"{made}; predictions of other clips mean nothing"] if self.record.synthetic else []),
            *(accepted if differ else []),
        ] + [
            f"{name} is {version}, but was {self.record.versions[name]} in the training; the last digits may differ"
            for name, version in here.items()
            if self.record.versions.get(name, version) != version
        ]


def _extractors(trained: Trained, names: list[str]) -> dict[str, Extractor]:
    """Return the function from a clip to its sequence of each name, provided that it works as for training."""
    functions: dict[str, Extractor] = {}
    for name in names:
        recorded = trained.record.sequences[name]
        if recorded.extractor.startswith("OpenFace"):
            raise ElisionError(
                f"{trained.folder}: the vision of the training came from CSV files of OpenFace. A clip alone has no "
                "such file; use a model that was trained on features of Elision"
            )
        if recorded.settings.get("centre") == "speaker":
            raise ElisionError(
                f"{trained.folder}: the model was trained with features.vision.centre: speaker. The mean of a speaker "
                "is unknown for single clips; use a model that was trained with centre: clip or none"
            )
        check_code(trained.folder, trained.record, [name], trained.accept_code)
        try:
            _, here = extractor(name, Features.model_validate({name: _settings(name, recorded)}))
            # As long as in training: a text still ends in [SEP], and audio and vision are cut at the same second.
            functions[name], _ = extractor(name, _features(trained.record))
        except ValidationError as error:
            wrong = error.errors()[0]["loc"][0]
            raise ElisionError(
                f"{trained.folder / 'run.json'}: settings of {wrong}: {error}; train the run again"
            ) from None
        then, now = (
            header.settings | {key: getattr(header, key) for key in ("extractor", "version", "rate", "features")}
            for header in (recorded, here)
        )
        if differ := [key for key in {**then, **now} if then.get(key) != now.get(key)]:
            what = "; ".join(f"{key} was {then.get(key)!r} and is now {now.get(key)!r}" for key in differ)
            raise ElisionError(
                f"{trained.folder}: {name} would not be extracted as for the training: {what}. Install the versions of "
                "the training, or train the run again"
            )
    return functions


def _features(record: Record) -> Features:
    """Return how clips are extracted: as in training, and no longer than there."""
    limits = {
        name: {**_settings(name, header), **_longest(name, header)}
        for name, header in record.sequences.items()
        if name in record.present
    }
    return Features.model_validate({name: limits[name] for name in MODALITIES if name in limits})


def _longest(name: str, header: Header) -> dict[str, int]:
    """Return ``max_length`` that cuts no clip which is no longer than those of training; nothing: as in training."""
    if header.settings.get("pool") == "mean":  # the length is that of what is left of a clip
        return {}
    # Frames of a speech model end before the sound does, by less than two frames.
    more = 2 if name == "audio" and header.extractor == "hf" else 0
    return {"max_length": max(header.length, _LEAST[name]) + more}


def _settings(kind: str, header: Header) -> dict[str, Any]:
    return {key: value for key, value in header.settings.items() if key in _SETTINGS[kind].model_fields}


def ask(
    trained: Trained,
    clips: pd.DataFrame,
    problems: Iterable[tuple[int, str]] = (),
    *,
    rates: Sequence[float] = RATES,
    seed: int = SEED,
    media: Sequence[tuple[str, int]] = (),
) -> dict[str, Any]:
    """Predict clips under complete and reduced modalities.

    The prediction of a clip depends on no other clip, and is that of the evaluation but for the last bits, which may
    follow from the size of a batch. A modality that a clip lacks is absent under every condition.

    Parameters
    ----------
    trained : Trained
    clips : pd.DataFrame
        As ``datasets.clips.opened`` returns them.
    problems : iterable of (int, str)
        What is wrong with a row of ``clips``: it is not predicted.
    rates : sequence of float in [0, 1]
        Missing rates; what is missing is drawn for the id of a clip, as in the evaluation.
    seed : int
        As ``corruption.seed``.
    media : sequence of (str, int)
        Kinds of corrupted media with their severities: each clip is corrupted by each, extracted again and predicted.

    Returns
    -------
    document : dict
        A JSON value; docs/predict.md tells its keys.

    Raises
    ------
    ElisionError
        If features cannot be made as for the training of the model.
    """
    record = trained.record
    wrong: dict[int, list[str]] = {}
    for row, problem in problems:
        wrong.setdefault(row, []).append(problem)
    text = record.sequences.get("text")
    recognised = text is not None and bool(text.settings.get("recogniser"))
    said = clips["has_audio"] if recognised else clips["text"].notna()
    given = {"text": said, "audio": clips["has_audio"], "vision": clips["has_vision"]}
    seen = [name for name in trained.headers() if name in MODALITIES]
    needed = [name for name in seen if name in record.present and given[name].any()]
    functions = _extractors(trained, needed)
    corruptor = Corruptor(clips, _features(record), seed=seed) if media else None
    settings = Corruption.model_validate({"seed": seed, "random": list(rates), "absent": True, "masks": "per_sample"})
    answers = []
    for row, clip in track(list(enumerate(clips.itertuples())), f"predict with {record.name}"):
        answer = {"id": clip.id, "path": clip.path, "text": clip.text, "error": None}
        answer |= {"present": [], "absent": [], "lengths": {}, "notes": [], "predictions": []}
        try:
            if row in wrong:
                raise ElisionError("; ".join(wrong[row]))
            forms = _corrupted(corruptor, clip, functions, media) if corruptor else []
            answer |= _answer(trained, clips.iloc[[row]], functions, settings, forms)
        except ElisionError as error:
            answer["error"] = str(error)
        answers.append(answer)
    spec, classes = record.spec, record.spec.task is TaskKind.CLASSIFICATION
    return {
        "elision": elision.__version__,
        "model": {
            "folder": str(trained.folder),
            **{key: getattr(record, key) for key in ("dataset", "name", "method", "run")},
            "checkpoint": VALID,
            "task": spec.task.value,
            "corpus": spec.corpus,
            "synthetic": record.synthetic,
            "range": None if spec.label_range is None or classes else [-spec.label_range, spec.label_range],
            "classes": list(spec.classes),
            "modalities": list(trained.modalities),
        },
        "seed": seed,
        "notes": trained.notes(needed),
        "clips": answers,
    }


@dataclass(frozen=True)
class _Form:
    """A corrupted form of a clip: what it is, and what is extracted and measured of it."""

    condition: Condition
    extracted: dict[str, Extracted]
    measured: dict[str, Any]


def _corrupted(
    corruptor: Corruptor, clip: Any, functions: dict[str, Extractor], media: Sequence[tuple[str, int]]
) -> list[_Form]:
    """Corrupt a clip by each kind, as far as the model sees what the kind changes and the clip has it."""
    forms = []
    for name, severity in media:
        steps = [(medium.kind(name)(), severity)]
        wanted = [each for each in concerned(steps, recognised=corruptor.recognises) if each in functions]
        found: dict[str, Extracted] = {}
        measured: dict[str, Any] = {}
        if wanted and severity:
            # Words that are recognised are those of the corrupted sound, also if the model does not see sound.
            read = corruptor.read(clip, {*wanted, "audio"} if corruptor.recognises and "text" in wanted else wanted)
            found, measured = corruptor.extracted(clip, steps, read)
            found = {each: found[each] for each in wanted if len(found[each].values)}
        forms.append(_Form(Condition(name, float(severity), tuple(found)), found, measured))
    return forms


def _answer(
    trained: Trained,
    clip: pd.DataFrame,
    functions: dict[str, Extractor],
    settings: Corruption,
    forms: Sequence[_Form] = (),
) -> dict[str, Any]:
    """Predict one clip, a table of one row, and its corrupted forms."""
    (row,) = clip.itertuples()
    headers, extracted = trained.headers(), {}
    for name, header in headers.items():
        extracted[name] = functions[name](row) if name in functions else _nothing(header, trained.record)
    extracted = _with_vectors(trained, extracted, row.text)
    sequences = {name: each.values for name, each in extracted.items()}
    present = [name for name in trained.modalities if len(sequences[name])]
    if not present:
        raise ElisionError(
            f"{row.path or row.id}: the clip has none of the modalities of the model ({', '.join(trained.modalities)})"
            "; give another clip, or a text"
        )
    listed = sorted(conditions(settings, tuple(present)), key=lambda condition: bool(condition.modalities))
    # A row for each condition and each corrupted form, so that all are predicted in one batch.
    rows = [extracted] * len(listed) + [
        _with_vectors(trained, {**extracted, **form.extracted}, form.measured.get("text", row.text)) for form in forms
    ]
    listed += [form.condition for form in forms]
    label = None if trained.record.spec.classes else np.nan
    cut = [each.facts["cut"] for each in extracted.values() if each.facts and "cut" in each.facts]
    samples = clip.iloc[[0] * len(listed)].assign(split="test", label=label, cut_at=min(cut, default=np.nan))
    if "text" in extracted and "words" in (heard := extracted["text"].facts or {}):
        samples = samples.assign(text=heard["words"], words=None)
    if any("text" in form.measured for form in forms):  # words that are no longer those of the transcript have no times
        samples = samples.reset_index(drop=True).astype({"text": object, "words": object})
        for number, form in enumerate(forms, start=len(listed) - len(forms)):
            if "text" in form.measured:
                samples.loc[number, ["text", "words"]] = [form.measured["text"], None]
    sequences_of = {name: _sequences([each[name] for each in rows], headers[name]) for name in extracted}
    store = Store(samples, sequences_of, {"classes": list(trained.record.spec.classes)})
    lacking = [name in trained.modalities and name not in present for name in MODALITIES]
    rates = np.where(lacking, 1.0, [condition.kind.rates(condition) for condition in listed])
    spans = spans_of(store, where=row.id)[0] if trained.view.alignment == "words" else None
    data = trained.assembled.split(store, "test", scales=trained.scales, spans=spans)
    _, uniform = draw(store, settings)
    outputs, _ = predict(trained.model, data, data.corrupted(Drawn(rates, uniform)))
    if not np.isfinite(outputs).all():
        raise ElisionError(f"{row.path or row.id}: the predictions are not finite; check the features of the clip")
    told: list[dict[str, Any]] = [{} for _ in listed[len(forms) :]]
    told += [{"measured": defined(form.measured)} for form in forms]
    return {
        "present": present,
        "absent": [name for name in trained.modalities if name not in present],
        "lengths": {name: min(len(sequences[name]), headers[name].length) for name in present},
        "notes": _notes(trained, row, extracted),
        "predictions": [
            {**_named(condition), **measured, **_prediction(output, trained.record.spec.classes)}
            for condition, measured, output in zip(listed, told, outputs, strict=True)
        ],
    }


def _with_vectors(trained: Trained, extracted: dict[str, Extracted], words: str | None) -> dict[str, Extracted]:
    """Return what is extracted with the vectors of its tokens, if the model sees vectors."""
    if "text_features" not in extracted or not len(ids := extracted["text"].values):
        return extracted
    device, threads = trained.assembled.device, trained.record.threads
    headers = trained.headers()
    encoder, header = headers["text"].extractor, headers["text_features"]
    states = vectors_of([words], [ids], encoder=encoder, header=header, device=device, threads=threads)
    return {**extracted, "text_features": Extracted(states[0])}


def _sequences(parts: list[Extracted], header: Header) -> Sequences:
    times = [each.times for each in parts if each.times is not None]
    return Sequences.of([each.values for each in parts], header, times or None)


def _nothing(header: Header, record: Record) -> Extracted:
    if header.modality == "text":
        return Extracted(np.zeros(0, np.int32))
    width = record.spec.text if header.modality == "text_features" else len(header.features)
    return Extracted(np.zeros((0, width), np.float32))


def _notes(trained: Trained, clip: Any, extracted: dict[str, Extracted]) -> list[str]:
    """Say what of a clip the model does not see, and how the clip was read."""
    notes = []
    for name in MODALITIES:
        if name not in trained.modalities:
            if clip.text is not None if name == "text" else getattr(clip, f"has_{name}"):
                notes.append(f"{name} is not used: the model was trained without {name}")
            continue
        values, facts = extracted[name].values, extracted[name].facts or {}
        length = len(values)
        if "words" in facts:
            notes.append(f"words are recognised, as in training: {facts['words']!r}")
        elif name == "text" and not length and clip.text is not None:
            notes.append("the given text is not used: the model reads words that are recognised in the sound")
        if "tokens" in facts:
            notes.append(f"text is cut from {facts['tokens']} to {length} tokens, the longest of the training")
        if "cut" in facts:
            notes.append(f"{name} is cut after {facts['cut']:.2f} s ({length} frames), the longest of the training")
        if "track" in facts:
            kind = "video" if name == "vision" else name
            notes.append(f"{kind} track {facts['track']} is read, FFmpeg's choice")
        if "filled_frames" in facts:
            notes.append(f"{facts['filled_frames']} of {length} frames have no face and are filled, as in training")
        if "filled" in facts:
            notes.append(f"audio starts late or pauses: silence fills {facts['filled']:.2f} s")
        if "silent" in facts:
            notes.append("audio is nothing but silence")
        if "others" in facts:
            notes.append(f"the face jumps to another person: {facts['others']} of {length} frames are not observed")
        if name == "vision" and length and np.isnan(values).any(1).all():
            notes.append(f"no face was found in {length} frames")
    return notes


def _named(condition: Condition) -> dict[str, Any]:
    return {"corruption": condition.corruption, "level": condition.level, "modalities": list(condition.modalities)}


def _prediction(output: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    if not classes:
        return {"prediction": float(output), "probabilities": None, "logits": None}
    shares = softmax(output.astype(np.float64))
    return {
        "prediction": classes[output.argmax()],
        "probabilities": dict(zip(classes, shares.tolist(), strict=True)),
        "logits": dict(zip(classes, output.tolist(), strict=True)),
    }


def show(document: dict[str, Any], console: Console) -> None:
    """Print what `ask` returns: a table of all clips that were predicted, and what is to be known of each."""
    model, notes = document["model"], list(document["notes"])
    table = Table("clip", "missing")
    if model["classes"]:
        heads = ["class", *model["classes"]]
    else:
        low, high = model["range"]
        heads = [f"score, {low:g} (negative) to {high:g} (positive)"]
    for head in heads:
        table.add_column(head, justify="right")
    for clip in document["clips"]:
        notes += [
            f"{clip['id']}: {note}" for note in [*(f"{name} is absent" for name in clip["absent"]), *clip["notes"]]
        ]
        name = clip["id"]
        for each in clip["predictions"]:
            cells = [each["prediction"]] if model["classes"] else [f"{each['prediction']:+.3f}"]
            cells += [f"{share:.3f}" for share in (each["probabilities"] or {}).values()]
            table.add_row(name, _missing(each), *cells)
            name = ""
        table.add_section()
    if table.rows:
        console.print(table)
    for note in notes:
        console.print(note, highlight=False, markup=False)


def _missing(prediction: dict[str, Any]) -> str:
    condition = Condition(prediction["corruption"], prediction["level"], tuple(prediction["modalities"]))
    return condition.kind.describe(condition)
