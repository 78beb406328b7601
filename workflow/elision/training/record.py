"""What ``run.json`` says of a run beside its training, so that the model can be asked about clips of which no store is.

`describe` writes it, `Record` reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from elision.errors import ElisionError
from elision.files import sha256
from elision.methods.base import Method
from elision.provenance import contents
from elision.provenance.recipe import code
from elision.settings.params import extracted, extracting, synthetic
from elision.store import Header, Store
from elision.task import DataSpec
from elision.training.run import Run

# What decides features and predictions, given the weights; not what trains or stores.
_PREDICTING = ("elision.batch", "elision.features", "elision.methods")


class Record(BaseModel):
    """What is read of ``run.json`` to ask a trained model.

    Attributes
    ----------
    dataset, name, run : str
        Names in the params: of the dataset, of the row of the tables, of the run.
    method : str
        File of ``methods/``.
    source : str
        File of ``datasets/`` that read the dataset.
    synthetic : bool
        Whether the source makes its data, so that no one is recorded in them.
    extracted : list of str
        Modalities that were extracted from clips; none for a source of sequences.
    present : list of str
        Modalities that some sample of the dataset has.
    sequences : dict of str to Header
        Headers of the store, without facts and provenance.
    spec : DataSpec
        What the method was built for.
    hyperparameters : dict
    scales : dict
        See ``training.view.recorded_scales``.
    checkpoints : dict
        By name.
    encoder : str
        Digest of the text encoder (see ``contents.encoder``); empty, where the dataset has no tokens.
    code : dict of str to str
        Digests of the code of the method, of the extractor of each modality, of the alignment and of the text vectors.
    weights : str
        SHA-256 of ``model.safetensors``.
    threads : int
        CPU threads of the training: they decide last bits.
    precision : str
        As ``train.precision``.
    versions : dict of str to str
        Of the libraries that change numbers; two of one library, where the training was interrupted by an upgrade.
    provenance : dict
        The recipe. ``starts`` has the digests of the weights of the teachers that the run started from.
    """

    dataset: str
    name: str
    run: str
    method: str
    source: str
    synthetic: bool = False
    extracted: list[str]
    present: list[str]
    sequences: dict[str, Header]
    spec: DataSpec
    hyperparameters: dict[str, Any]
    scales: dict[str, dict[str, list[float]]]
    checkpoints: dict[str, dict]
    encoder: str
    code: dict[str, str]
    weights: str
    threads: int
    precision: str = "float32"
    versions: dict[str, str]
    provenance: dict

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read ``run.json`` of a trained run, and make sure that the weights beside it are its own.

        Raises
        ------
        ElisionError
            If one of them is missing or damaged, or they do not belong together.
        """
        path, weights = folder / "run.json", folder / "model.safetensors"
        for file in (path, weights):
            if not file.is_file():
                raise ElisionError(
                    f"{file} does not exist; give the folder of a trained run, results/models/DATASET/METHOD/RUN"
                )
        try:
            record = cls(**json.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            keys = ", ".join(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))
            raise ElisionError(
                f"{path} was not written by this version of Elision (missing or unexpected: {keys}); train the run "
                "again"
            ) from None
        except (OSError, ValueError, TypeError) as error:
            raise ElisionError(f"{path} is damaged ({error}); copy the folder again, or train the run again") from None
        if sha256(weights) != record.weights:
            raise ElisionError(
                f"{weights} is damaged, or belongs to another run than run.json; copy the folder again, or train the "
                "run again"
            )
        return record


def describe(run: Run, *, store: Store, model: Method) -> dict[str, Any]:
    """Return what `Record` reads and the trainer does not know otherwise.

    Parameters
    ----------
    run : Run
    store : Store
        As the method sees it: with text vectors, where it reads them.
    model : Method
    """
    made = extracted(run.params, run.dataset)
    headers = {key: each.header.model_dump(exclude={"provenance", "facts"}) for key, each in store.modalities.items()}
    for header in headers.values():
        header["settings"] = {key: value for key, value in header["settings"].items() if key != "failed"}
    return {
        "dataset": run.dataset,
        "name": run.name,
        "run": run.run,
        "method": model.name,
        "known_from": model.known_from,
        "source": (source := run.params.datasets[run.dataset].source),
        "synthetic": synthetic(source),
        "extracted": made,
        "present": list(store.present),
        "sequences": headers,
        "spec": asdict(model.spec),
        "encoder": encoder_of(store),
        "read": store.provenance.get("read", []),
        "warnings": store.provenance.get("warnings", []),
        "code": digests(
            model.name, [*made, "align", "encode"], {k: each.header for k, each in store.modalities.items()}
        ),
        "threads": run.params.train.threads,
    }


def encoder_of(store: Store) -> str:
    """Return the digest of the text encoder of a store's tokens; empty, where the store has none."""
    return contents.encoder(store.modalities["text"].header.extractor) if "text" in store.modalities else ""


def digests(method: str, features: list[str], sequences: Mapping[str, Header]) -> dict[str, str]:
    """Return digests of the code of a method and of modules of ``features``; headers tell the extractor of each."""
    extractors = {name: header.extractor for name, header in sequences.items()}
    modules = {"method": f"methods.{method}"}
    modules |= {key: f"features.{extracting(key, extractors.get(key))}" for key in features}
    return {key: code(module, within=_PREDICTING) for key, module in modules.items()}
