"""The evaluate step: predictions of one run under every test condition, in one load of the model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from elision.corruption.plan import Plan
from elision.errors import ElisionError
from elision.methods import build, load, resolve_variant
from elision.params import Params, parse_run
from elision.progress import track
from elision.recipe import check, check_data
from elision.store import Store
from elision.training.checkpoint import load_run_weights
from elision.training.data import SplitData, View, recorded_scales, spec, with_text_vectors
from elision.training.trainer import choose_device, predict

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


def read_run(path: Path, recipe: dict, data: str) -> dict:
    """Read the record of a run and make sure that it is the one that is asked for.

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
        If it is missing, was made otherwise, or was trained on other data.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ElisionError(f"{path}: no such run; train it: snakemake --cores all {path}") from None
    check(record["provenance"], recipe, path)
    check_data(record["provenance"]["data"], data, path)
    return record


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
    variant, corpus = params.variants[method], params.datasets[dataset].corpus
    device = choose_device(params.train.device)
    torch.set_num_threads(params.train.threads)
    hyperparameters, _ = resolve_variant(params, variant, corpus)
    _, fold = parse_run(run)
    view = View.of(load(variant.method), hyperparameters, fold)
    if view.reads_text == "vectors":
        store = with_text_vectors(store)
    model = build(variant.method, hyperparameters, spec(store, corpus, view)).to(device)
    model.start({}, database)
    measured = recorded_scales(record)
    data = SplitData(store, "test", scales=measured, spans=spans, device=device, view=view)
    uniforms, tables = plan.of(store, fold), []
    for checkpoint in record["checkpoints"]:
        load_run_weights(weights, checkpoint, model)
        for condition in track(plan.conditions, f"evaluate {dataset} {method} {checkpoint}"):
            noise = condition.noise and data.noise(
                condition.noise,
                intensity=int(condition.level),
                settings=params.corruption.noise,
                rates=condition.rates(),
                seed=plan.seed,
                stream="test",
            )
            corrupted = data.corruption(rates=condition.rates(), uniform=uniforms, noise=noise)
            predictions, labels = predict(model, data, corrupted)
            if not np.isfinite(predictions).all():
                bad = data.ids[~np.isfinite(predictions.reshape(len(data), -1)).all(1)][:3]
                raise ElisionError(f"{weights}: predictions of {', '.join(bad)} are not finite under {condition}")
            tables.append(
                pd.DataFrame(
                    {
                        "id": data.ids,
                        "corruption": condition.corruption,
                        "level": condition.level,
                        "modalities": "+".join(condition.modalities),
                        "checkpoint": checkpoint,
                        **_columns(predictions, labels, store.classes),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def _columns(predictions: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not classes:
        return {"prediction": predictions.astype(np.float64), "label": labels.astype(np.float64)}
    names = np.array(classes, dtype=object)
    logits = {f"logit.{name}": predictions[:, number] for number, name in enumerate(classes)}
    return {"prediction": names[predictions.argmax(1)], "label": names[labels], **logits}
