"""The step that uses a trained run on the test split: predictions and representations, in one load of the model."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter

from elision.corruption.clips import CorruptedClips
from elision.corruption.kind import Condition, Draw
from elision.corruption.plan import Plan, bare
from elision.dialogues import speakers
from elision.errors import ElisionError
from elision.evaluation.representations import RATES, choose
from elision.features.align import spans_of
from elision.features.encode import vectors_of
from elision.files import sha256
from elision.methods.base import Method
from elision.progress import track
from elision.provenance.recipe import check, check_data
from elision.store import Sequences, Store
from elision.task import DataSpec
from elision.training.checkpoint import load_run_weights
from elision.training.run import Run, predict, remembering
from elision.training.selection import VALID
from elision.training.split import Corrupted, SplitData
from elision.training.view import recorded_scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elision.methods.layers.retrieval import Database


def read_run(path: Path, recipe: dict, data: str) -> dict:
    """Read the record of a run and make sure that it, and the weights beside it, are what is asked for.

    Parameters
    ----------
    path : Path
        ``run.json``.
    recipe : dict
        The recipe of the current params.
    data : str
        Digest of the dataset that is evaluated.

    Raises
    ------
    ElisionError
        If it is missing or damaged, was made otherwise, or was trained on other data, or if the weights are missing,
        damaged or those of another run.
    """
    again = f"snakemake --cores all --force {path}"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        provenance, expected = record["provenance"], record["weights"]
    except FileNotFoundError:
        raise ElisionError(f"{path} does not exist; train the run: snakemake --cores all {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElisionError(f"{path} is damaged ({error!r}); train the run again: {again}") from None
    check(provenance, recipe, path)
    check_data(provenance["data"], data, path)
    weights = path.with_name("model.safetensors")
    if not weights.is_file():
        raise ElisionError(f"{weights} does not exist; train the run again: {again}")
    if sha256(weights) != expected:
        raise ElisionError(
            f"{weights} is damaged, or belongs to another run than {path.name}; train the run again: {again}"
        )
    return record


class Evaluation:
    """A finished run and the test split, loaded once.

    Parameters
    ----------
    run : Run
    store : Store
        That is tested, with the text vectors, where the method reads them.
    plan : Plan
    weights : Path
        ``model.safetensors`` of the run.
    record : dict
        Its ``run.json``.
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``): needed for ``alignment: words`` only.
    database : Database, optional
        For a method that retrieves.
    media : mapping of str to CorruptedClips, optional
        Features of the corrupted test clips, by kind of corruption.

    Raises
    ------
    ElisionError
        If a dialogue of another dataset than that of the training has more speakers than the method knows.
    """

    def __init__(
        self,
        run: Run,
        *,
        store: Store,
        plan: Plan,
        weights: Path,
        record: dict,
        spans: dict[str, np.ndarray] | None = None,
        database: "Database | None" = None,
        media: Mapping[str, CorruptedClips] = MappingProxyType({}),
    ) -> None:
        self.run, self.weights, self.checkpoints = run, weights, record["checkpoints"]
        self.classes, self._store = store.classes, store
        self._settings = run.params.corruption_for(run.tested_on)
        self.plan = plan.of_run(run.seed, store, self._settings, spans)
        self.model = run.build(TypeAdapter(DataSpec).validate_python(record["spec"]))
        self.model.start({}, database)
        if run.view.dialogues and (most := int(speakers(store.samples).max()) + 1) > self.model.spec.speakers:
            raise ElisionError(
                f"datasets.{run.dataset}.test_on: a dialogue of {run.tested_on} has {most} speakers, and {run.name} "
                f"was trained with at most {self.model.spec.speakers}; leave out {run.tested_on} or {run.name}"
            )
        # The store of each condition whose clips were corrupted and extracted again.
        self._extracted = {
            condition: media[condition.corruption].store(store, int(condition.level))
            for condition in self.plan.conditions
            if condition.corruption in media and condition.level
        }
        self._scales = recorded_scales(record)
        self.data = run.split(store, "test", scales=self._scales, spans=spans)

    def _split(self, condition: Condition) -> SplitData:
        """Return the test split: where clips were corrupted, with the features that were extracted of them."""
        store = self._extracted.get(condition)
        if store is None:
            return self.data
        run, words = self.run, self.run.hyperparameters.alignment == "words"
        text = store.modalities.get("text")
        of_clean = store.modalities.get("text_features") is self._store.modalities.get("text_features")
        if text and "text_features" in store.modalities and of_clean and text is not self._store.modalities["text"]:
            tested = set(store.rows("test", run.fold).tolist())
            ids = [tokens if row in tested else tokens[:0] for row, tokens in enumerate(text)]
            device, threads = self.data.device, run.params.train.threads
            header = store.modalities["text_features"].header
            texts, encoder = store.samples["text"].tolist(), text.header.extractor
            states = vectors_of(texts, ids, encoder=encoder, header=header, device=device, threads=threads)
            vectors = Sequences.of(states, header)
            # Kept for the next checkpoint.
            self._extracted[condition] = store = replace(
                store, modalities={**store.modalities, "text_features": vectors}
            )
        spans = spans_of(store, where=f"{run.tested_on} under {condition}")[0] if words else None
        return run.split(store, "test", scales=self._scales, spans=spans)

    def _corrupted(self, condition: Condition) -> Corrupted | None:
        """Do to the test split what a condition does."""
        kind, run = condition.kind, self.run
        setting = getattr(self._settings, kind.name)
        numbers = self.plan.numbers(kind, self._store, run.fold)
        drawn = kind.test(condition, self.data.samples, Draw(run.mask_seed, "test"), numbers, setting)
        return self.data.corrupted(drawn)

    def predictions(self) -> pd.DataFrame:
        """Predict the test split under every condition.

        Returns
        -------
        predictions : DataFrame
            Columns ``id``, ``corruption``, ``level``, ``modalities`` (those that lose something, joined by "+"),
            ``empty`` (nothing of the sample is left, of any modality of the dataset), ``checkpoint``, ``prediction``,
            ``label``; one row per condition, checkpoint and sample. Of classes, prediction and label are names, and
            the columns ``logit.CLASS`` follow.

        Raises
        ------
        ElisionError
            If a prediction is not finite.
        """
        run, data, tables = self.run, self.data, []
        empty = self.plan.emptied(self._store, run.fold, self._settings)
        empty |= {condition: bare(store, run.fold) for condition, store in self._extracted.items()}
        epochs: dict[int, list[str]] = {}
        for checkpoint, kept in self.checkpoints.items():
            epochs.setdefault(kept["epoch"], []).append(checkpoint)
        for epoch, checkpoints in epochs.items():
            load_run_weights(self.weights, checkpoints[0], self.model)
            for condition, predictions, labels in self._conditions(f"evaluate {run.dataset} {run.name} epoch {epoch}"):
                if not np.isfinite(predictions).all():
                    bad = data.ids[~np.isfinite(predictions.reshape(len(data), -1)).all(1)][:3]
                    raise ElisionError(
                        f"{self.weights}: predictions of {', '.join(bad)} are not finite under {condition}; train the "
                        "run again with a lower learning rate"
                    )
                columns = {
                    "id": data.ids,
                    "corruption": condition.corruption,
                    "level": condition.level,
                    "modalities": condition.which,
                    "empty": empty[condition],
                }
                predicted = _columns(predictions, labels, self.classes)
                tables += [pd.DataFrame({**columns, "checkpoint": name, **predicted}) for name in checkpoints]
        return pd.concat(tables, ignore_index=True)

    def _conditions(self, description: str) -> "Iterator[tuple[Condition, np.ndarray, np.ndarray]]":
        """Yield every condition with predictions and labels; conditions that coincide are predicted once."""
        made: dict[bytes | None, tuple[np.ndarray, np.ndarray]] = {}
        with remembering(self.model):
            for condition in track(self.plan.conditions, description):
                data = self._split(condition)
                corrupted = identity = None
                if data is self.data:
                    corrupted = self._corrupted(condition)
                    identity = corrupted.identity if corrupted else b""
                found = made.get(identity) or predict(self.model, data, corrupted)
                if identity is not None:
                    made[identity] = found
                yield condition, *found

    def representations(self) -> dict[str, np.ndarray]:
        """Compute the fused representations of test samples at the missing rates of ``representations.RATES``.

        Samples and masks are those of `predictions`, rates those among its conditions. Of checkpoints chosen on test,
        it is that of the MAE, or of the weighted F1.

        Returns
        -------
        arrays : dict of str to np.ndarray
            See ``representations.read``.

        Raises
        ------
        ElisionError
            If a representation is not finite.
        """
        data = self.data
        checkpoint = next(name for name in ("mae", "f1_weighted", VALID) if name in self.checkpoints)
        load_run_weights(self.weights, checkpoint, self.model)
        rows = choose(data.ids, seed=self.run.mask_seed)
        conditions = [condition for condition in self.plan.of_levels() if round(condition.level, 6) in RATES]
        values = np.zeros((0, len(rows), 0), np.float32)
        if conditions:
            corrupted = map(self._corrupted, conditions)
            values = np.stack([_representation(self.model, data, rows, lost) for lost in corrupted])
        if not np.isfinite(values).all():
            bad = data.ids[rows][~np.isfinite(values).all((0, 2))][:3]
            raise ElisionError(
                f"{self.weights}: representations of {', '.join(bad)} are not finite; train the run again with a lower "
                "learning rate"
            )
        return {
            "values": values,
            "rates": np.array([condition.level for condition in conditions]),
            "labels": data.labels.cpu().numpy()[rows],
            "ids": data.ids[rows].astype(str),
            "checkpoint": np.array(checkpoint),
        }


def _columns(predictions: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not classes:
        return {"prediction": predictions.astype(np.float64), "label": labels.astype(np.float64)}
    names = np.array(classes, dtype=object)
    logits = {f"logit.{name}": predictions[:, number] for number, name in enumerate(classes)}
    return {"prediction": names[predictions.argmax(1)], "label": names[labels], **logits}


@torch.inference_mode()
def _representation(model: Method, data: SplitData, rows: np.ndarray, corrupted: Corrupted | None) -> np.ndarray:
    """Representations of the samples ``rows`` [N, D] float32."""
    model.eval()
    units = torch.arange(data.units) if data.dialogues else torch.from_numpy(rows)  # dialogues are read whole
    batches = [data.members(chosen) for chosen in units.split(model.hyperparameters.batch_size)]
    with model.autocast(data.device):
        parts = [model.predict(data.batch(b, corrupted)).representation.float().cpu() for b in batches]
    values = torch.cat(parts)
    return (values[torch.cat(batches).argsort()][rows] if data.dialogues else values).numpy()
