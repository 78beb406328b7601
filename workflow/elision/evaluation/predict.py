"""The steps that use a trained run on the test split, in one load of the model.

``evaluate`` predicts under every test condition; ``represent`` keeps what some samples look like inside the model.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from elision.corruption.kind import Condition, Draw, Drawn
from elision.corruption.plan import Plan
from elision.errors import ElisionError
from elision.evaluation.representations import RATES, choose
from elision.files import sha256
from elision.methods import build, load, resolve_variant
from elision.methods.base import Method
from elision.progress import track
from elision.provenance.recipe import check, check_data
from elision.settings.params import Corruption, Params
from elision.store import Store
from elision.task import parse_run
from elision.training.checkpoint import load_run_weights
from elision.training.data import Corrupted, SplitData, View, recorded_scales, spec, with_text_vectors
from elision.training.selection import VALID
from elision.training.trainer import choose_device, predict

if TYPE_CHECKING:
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
        raise ElisionError(f"{path}: no such run; train it: snakemake --cores all {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElisionError(f"{path}: damaged ({error!r}); train the run again: {again}") from None
    check(provenance, recipe, path)
    check_data(provenance["data"], data, path)
    weights = path.with_name("model.safetensors")
    if not weights.is_file():
        raise ElisionError(f"{weights}: no such file; train the run again: {again}")
    if sha256(weights) != expected:
        raise ElisionError(
            f"{weights}: damaged, or not of the run of {path.name} beside it; train the run again: {again}"
        )
    return record


def _load(
    params: Params,
    dataset: str,
    method: str,
    run: str,
    store: Store,
    record: dict,
    spans: dict[str, np.ndarray] | None,
    database: "Database | None",
) -> tuple[Method, SplitData]:
    """Build a method that has no weights yet, and the test split as it sees it."""
    variant, corpus = params.variants[method], params.datasets[dataset].corpus
    device = choose_device(params.train.device)
    torch.set_num_threads(params.train.threads)
    hyperparameters, _ = resolve_variant(params, variant, dataset)
    view = View.of(load(variant.method), hyperparameters, parse_run(run)[1])
    if view.reads_text == "vectors":
        store = with_text_vectors(store)
    model = build(variant.method, hyperparameters, spec(store, corpus, view)).to(device)
    model.start({}, database)
    return model, SplitData(store, "test", scales=recorded_scales(record), spans=spans, device=device, view=view)


def evaluate(
    params: Params,
    *,
    dataset: str,
    method: str,
    store: Store,
    plan: Plan,
    weights: Path,
    record: dict,
    run: str,
    spans: dict[str, np.ndarray] | None = None,
    database: "Database | None" = None,
) -> pd.DataFrame:
    """Predict the test split under every condition.

    Parameters
    ----------
    weights : Path
        ``model.safetensors`` of the run.
    record : dict
        Its ``run.json``.
    run : str
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``): needed for ``alignment: words`` only.
    database : Database, optional
        For a method that retrieves.

    Returns
    -------
    predictions : DataFrame
        Columns ``id``, ``corruption``, ``level``, ``modalities`` (those that lose something, joined by "+"),
        ``checkpoint``, ``prediction``, ``label``; one row per condition, checkpoint and sample. Of classes, prediction
        and label are names, and the columns ``logit.CLASS`` follow.
    """
    model, data = _load(params, dataset, method, run, store, record, spans, database)
    corruption, fold, tables = params.corruption_for(dataset), parse_run(run)[1], []
    epochs: dict[int, list[str]] = {}
    for checkpoint, kept in record["checkpoints"].items():
        epochs.setdefault(kept["epoch"], []).append(checkpoint)
    for epoch, checkpoints in epochs.items():
        load_run_weights(weights, checkpoints[0], model)
        for condition in track(plan.conditions, f"evaluate {dataset} {method} epoch {epoch}"):
            corrupted = data.corrupted(_drawn(condition, data, plan, store, fold, corruption))
            predictions, labels = predict(model, data, corrupted)
            if not np.isfinite(predictions).all():
                bad = data.ids[~np.isfinite(predictions.reshape(len(data), -1)).all(1)][:3]
                raise ElisionError(f"{weights}: predictions of {', '.join(bad)} are not finite under {condition}")
            columns = {
                "id": data.ids,
                "corruption": condition.corruption,
                "level": condition.level,
                "modalities": "+".join(condition.modalities),
            }
            predicted = _columns(predictions, labels, store.classes)
            tables += [pd.DataFrame({**columns, "checkpoint": name, **predicted}) for name in checkpoints]
    return pd.concat(tables, ignore_index=True)


def _drawn(condition: Condition, data: SplitData, plan: Plan, store: Store, fold: int, settings: Corruption) -> Drawn:
    """Return what a condition does to the test split."""
    kind = condition.kind
    numbers = plan.numbers(kind, store, fold)
    return kind.test(condition, data.samples, Draw(plan.seed, "test"), numbers, getattr(settings, kind.name))


def _columns(predictions: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not classes:
        return {"prediction": predictions.astype(np.float64), "label": labels.astype(np.float64)}
    names = np.array(classes, dtype=object)
    logits = {f"logit.{name}": predictions[:, number] for number, name in enumerate(classes)}
    return {"prediction": names[predictions.argmax(1)], "label": names[labels], **logits}


def represent(
    params: Params,
    *,
    dataset: str,
    method: str,
    store: Store,
    plan: Plan,
    weights: Path,
    record: dict,
    run: str,
    spans: dict[str, np.ndarray] | None = None,
    database: "Database | None" = None,
) -> dict[str, np.ndarray]:
    """Compute the fused representations of test samples at the missing rates of ``representations.RATES``.

    Samples and masks are those of ``evaluate``, rates those among its conditions. Of checkpoints chosen on test, it is
    that of the MAE, or of the weighted F1.

    Parameters
    ----------
    As for ``evaluate``.

    Returns
    -------
    arrays : dict of str to np.ndarray
        See ``representations.read``.
    """
    model, data = _load(params, dataset, method, run, store, record, spans, database)
    checkpoint = next(name for name in ("mae", "f1_weighted", VALID) if name in record["checkpoints"])
    load_run_weights(weights, checkpoint, model)
    rows = choose(data.ids, seed=plan.seed)
    conditions = [condition for condition in plan.of_levels() if round(condition.level, 6) in RATES]
    values = np.zeros((0, len(rows), 0), np.float32)
    if conditions:
        corruption, fold = params.corruption_for(dataset), parse_run(run)[1]
        drawn = [_drawn(condition, data, plan, store, fold, corruption) for condition in conditions]
        values = np.stack([_representation(model, data, rows, data.corrupted(each)) for each in drawn])
    if not np.isfinite(values).all():
        bad = data.ids[rows][~np.isfinite(values).all((0, 2))][:3]
        raise ElisionError(f"{weights}: representations of {', '.join(bad)} are not finite")
    return {
        "values": values,
        "rates": np.array([condition.level for condition in conditions]),
        "labels": data.labels.cpu().numpy()[rows],
        "ids": data.ids[rows].astype(str),
        "checkpoint": np.array(checkpoint),
    }


@torch.inference_mode()
def _representation(model: Method, data: SplitData, rows: np.ndarray, corrupted: Corrupted) -> np.ndarray:
    """Representations of the samples ``rows`` [N, D] float32."""
    model.eval()
    batches = torch.from_numpy(rows).split(model.hyperparameters.batch_size)
    return torch.cat([model.predict(data.batch(b, corrupted)).representation.float().cpu() for b in batches]).numpy()
