"""The index step: the retrieval database of a stage, from the data that a run may learn from."""

from pathlib import Path

import torch

from elision.methods import resolve_variant
from elision.methods.layers.retrieval import Database
from elision.settings.params import Params
from elision.store import Store
from elision.task import MODALITIES, parse_run
from elision.training.data import SplitData, View, recorded_scales, with_text_vectors
from elision.training.trainer import choose_device, load_stage

UNLABELLED = "unlabelled"


def index(
    params: Params,
    *,
    dataset: str,
    stage: str,
    run: str,
    store: Store,
    weights: Path,
    record: dict,
    folder: Path,
    provenance: dict,
) -> None:
    """Write the hidden vectors of complete samples and their index.

    The database holds the training part of the run's fold and the unlabelled pool of the dataset (split
    ``unlabelled``), never a sample of validation or test.

    Parameters
    ----------
    stage : str
        Name of a method with ``hidden(batch) -> {modality: Tensor [B, d]}``.
    weights : Path
        ``model.safetensors`` of its run.
    record : dict
        Its ``run.json``.
    folder : Path
        Of the database.
    """
    device = choose_device(params.train.device)
    torch.set_num_threads(params.train.threads)
    _, fold = parse_run(run)
    store = with_text_vectors(store)
    method = load_stage(params, stage, dataset, store, fold, weights).to(device)
    hyperparameters, _ = resolve_variant(params, params.trained[stage], dataset)
    view = View.of(type(method), hyperparameters, fold)
    measured = recorded_scales(record)
    parts, rows, labelled = [], [], []
    for split in ("train", UNLABELLED):
        data = SplitData(store, split, scales=measured, view=view, device=device)
        with torch.inference_mode():
            batches = torch.arange(len(data)).split(hyperparameters.batch_size)
            parts += [method.hidden(data.batch(batch, None)) for batch in batches if len(batch)]
        rows.append(data.rows.cpu())
        labelled.append(torch.full((len(data),), split == "train"))
    vectors = {name: torch.cat([part[name].cpu() for part in parts]) for name in MODALITIES}
    database = Database(vectors, rows=torch.cat(rows), labelled=torch.cat(labelled))
    ids = store.samples["id"].to_numpy()[database.rows.numpy()].tolist()
    made_from = {"data": store.provenance["data"], "weights": record["weights"]}
    database.write(folder, ids, {**provenance, **made_from})
