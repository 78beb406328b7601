"""A trained run, opened from its folder alone: no params, no dataset, only the database of a method that retrieves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError

from elision.errors import ElisionError
from elision.methods import load
from elision.methods.base import Method
from elision.provenance import contents
from elision.settings.params import retrieves
from elision.store import read_tensors
from elision.training.checkpoint import load_run_weights
from elision.training.record import Record, digests
from elision.training.run import Assembled
from elision.training.selection import VALID

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


@dataclass(frozen=True)
class Loaded:
    """A trained run.

    Attributes
    ----------
    folder : Path
    record : Record
    model : Method
        With the weights that were chosen on validation data, in evaluation mode.
    assembled : Assembled
    """

    folder: Path
    record: Record
    model: Method
    assembled: Assembled

    @classmethod
    def open(
        cls, folder: Path, *, device: str = "auto", accept_code: bool = False, chosen_on_test: bool = False
    ) -> "Loaded":
        """Build the model of a run and load its weights.

        Parameters
        ----------
        folder : Path
            ``results/models/DATASET/METHOD/RUN``, or a copy of it.
        device : str
            As ``train.device``.
        accept_code : bool
            Open the run though the code has changed since its training.
        chosen_on_test : bool
            Where no checkpoint was chosen on validation data, take the first of those that were chosen on test data.

        Raises
        ------
        ElisionError
            If the run cannot be read, if it was trained by other code than is here, or if its text encoder or retrieval
            database is missing.
        """
        record = Record.read(folder)
        method = load(record.method)
        check_code(folder, record, modules(record), accept_code)
        checkpoint = VALID
        if VALID not in record.checkpoints:
            if not chosen_on_test:
                raise ElisionError(
                    f"{folder} has no checkpoint that was chosen on validation data; train the run again with "
                    "train.selection: valid"
                )
            checkpoint = next(iter(record.checkpoints))
        try:
            hyperparameters = method.Hyperparameters(**record.hyperparameters)
        except ValidationError as error:
            raise ElisionError(f"{folder / 'run.json'}: {record.method}: {error}; train the run again") from None
        assembled = Assembled(
            record.method, hyperparameters, device=device, threads=record.threads, precision=record.precision
        )
        model = assembled.build(record.spec)
        if assembled.view.reads_text != "nothing":
            _check_encoder(folder, record)
        model.start({}, _database(folder, record))
        try:
            load_run_weights(folder / "model.safetensors", checkpoint, model)
        except SafetensorError as error:
            raise ElisionError(f"{folder / 'model.safetensors'} is damaged ({error}); train the run again") from None
        return cls(folder, record, model.to(assembled.device).eval(), assembled)


def modules(record: Record) -> list[str]:
    """Name what of the package a prediction from features uses."""
    return [
        "method",
        *(["align"] if record.hyperparameters.get("alignment") == "words" else []),
        *(["encode"] if "text_features" in record.sequences else []),
    ]


def changed(record: Record, names: list[str]) -> list[str]:
    """Return which of some modules have other code than in the training."""
    here = digests(record.method, [name for name in names if name != "method"], record.sequences)
    return [name for name in names if record.code.get(name) != here[name]]


def check_code(folder: Path, record: Record, names: list[str], accept: bool) -> None:
    """Refuse a run whose training had other code of some modules, unless the user accepts the new code.

    Raises
    ------
    ElisionError
        Names the modules.
    """
    differ = changed(record, names)
    if differ and not accept:
        raise ElisionError(
            f"{folder}: the code of {', '.join(differ)} has changed since the training (Elision "
            f"{record.versions.get('elision', '?')}). Train the run again, install the old code, or accept the new "
            "code: --accept-code"
        )


def _check_encoder(folder: Path, record: Record) -> None:
    """Refuse a text encoder that is not that of the training, whether its weights are trained further or not."""
    if record.encoder and contents.encoder(record.spec.encoder) != record.encoder:
        raise ElisionError(
            f"{folder}: the tokenizer or the weights of the text encoder {record.spec.encoder!r} have changed since "
            "the training. Restore the encoder of the training, or train the run again"
        )


def _database(folder: Path, record: Record) -> "Database | None":
    """Read the database that a method searches: beside the weights, or where the workflow leaves it."""
    teacher = retrieves(record.method)
    if not teacher:
        return None
    from elision.methods.layers.retrieval import Database

    places = [folder / "database", folder.absolute().parent.parent / teacher / record.run / "database"]
    place = next((path for path in places if path.exists()), None)
    if place is None:
        raise ElisionError(
            f"{record.method} searches the database of {teacher}, but the database is missing; copy it to {places[0]}"
        )
    _, metadata = read_tensors(place / "vectors.safetensors")
    database, provenance = Database.read(place, metadata.get("ids", []))
    made_by, searched = provenance.get("identity"), record.provenance.get("inputs", {}).get("database")
    if made_by != searched or provenance.get("weights") != record.provenance.get("starts", {}).get(teacher):
        raise ElisionError(
            f"{place} is not the database with which {folder} was trained; copy the right database to {places[0]}"
        )
    database.rows.fill_(-1)  # no clip that is asked about is a sample of it
    return database
