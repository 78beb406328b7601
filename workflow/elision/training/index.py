"""The index step: the retrieval database of a teacher, from the data that a run may learn from."""

from pathlib import Path

import torch

from elision.features.encode import UNLABELLED
from elision.methods.layers.retrieval import Database
from elision.store import Store
from elision.task import MODALITIES
from elision.training.run import Run
from elision.training.view import recorded_scales


def index(run: Run, *, store: Store, weights: Path, record: dict, folder: Path, provenance: dict) -> None:
    """Write the hidden vectors of complete samples and their index.

    The database holds the training part of the run's fold and the unlabelled pool of the dataset (split
    ``unlabelled``), never a sample of validation or test.

    Parameters
    ----------
    run : Run
        Of a method with ``hidden(batch) -> {modality: Tensor [B, d]}``.
    store : Store
        With the text vectors.
    weights : Path
        ``model.safetensors`` of the run.
    record : dict
        Its ``run.json``.
    folder : Path
        Of the database.
    provenance : dict
    """
    method = run.trained(store, weights)
    measured = recorded_scales(record)
    parts, rows, labelled = [], [], []
    for split in ("train", UNLABELLED):
        data = run.split(store, split, scales=measured)
        with torch.inference_mode(), method.autocast(data.device):
            batches = torch.arange(len(data)).split(run.hyperparameters.batch_size)
            parts += [method.hidden(data.batch(batch, None)) for batch in batches if len(batch)]
        rows.append(data.rows.cpu())
        labelled.append(torch.full((len(data),), split == "train"))
    vectors = {name: torch.cat([part[name].float().cpu() for part in parts]) for name in MODALITIES}
    database = Database(vectors, rows=torch.cat(rows), labelled=torch.cat(labelled))
    ids = store.samples["id"].to_numpy()[database.rows.numpy()].tolist()
    made_from = {"data": store.provenance["data"], "weights": record["weights"]}
    database.write(folder, ids, {**provenance, **made_from})
