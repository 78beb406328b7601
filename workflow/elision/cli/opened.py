"""What verbs begin with: the options that several verbs have, and every artifact, opened and checked."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elision.corruption.kind import kinds
from elision.errors import ElisionError, plural
from elision.provenance import kept
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes, check, check_data
from elision.provenance.versions import of_all, stamped
from elision.settings import params as parameters

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import pandas as pd

    from elision.corruption.clips import CorruptedClips
    from elision.corruption.kinds.media import Of
    from elision.corruption.plan import Plan
    from elision.methods.layers.retrieval import Database
    from elision.store import Store
    from elision.training.loop import Starts
    from elision.training.run import Run
    from elision.training.tuning import Study

ParamsFile = Annotated[Path, typer.Option("--params", envvar="ELISION_PARAMS", help="path of the params file")]
Results = Annotated[
    Path | None,
    typer.Option(envvar="ELISION_RESULTS", help="folder for the results (default: `results` in the params file)"),
]
Dataset = Annotated[str, typer.Option(help="name of a dataset in params.yaml")]
Test = Annotated[
    str,
    typer.Option(
        "--dataset", help="name of a dataset in params.yaml, or DATASET-on-OTHER for the test_on of a dataset"
    ),
]
KindName = Annotated[str, typer.Option("--kind", help="kind of corrupted media, such as white_noise (docs/media.md)")]
MethodName = Annotated[str, typer.Option("--method", help="name of a method in params.yaml")]
RunName = Annotated[str, typer.Option("--run", help="run id, for example seed-1111 or seed-1111.fold-3")]
RunNames = Annotated[
    list[str],
    typer.Option(
        "--run", help="run id, for example seed-1111 or seed-1111.fold-3; give --run again for each further run"
    ),
]
_PLANNED = "internal (set by Snakemake): refuse to run if settings or code changed since planning"
Recipe = Annotated[str, typer.Option(help=_PLANNED)]
RecipesOfRuns = Annotated[list[str] | None, typer.Option("--recipe", help=f"{_PLANNED}; one for each --run")]
Shard = Annotated[int, typer.Option(help="number of the shard: 0 to features.shards - 1")]

PARAMS, RESULTS = Path("params.yaml"), None


def expect(recipe: dict, identity: str) -> dict:
    """Refuse to work when the params or the code changed since the workflow was planned.

    Raises
    ------
    ElisionError
        If the recipe has another identity than the caller planned with.
    """
    if identity and identity != recipe["identity"]:
        raise ElisionError(
            f"params.yaml or the code of step {recipe['step']!r} changed while the workflow was running. Start the "
            "workflow again; finished work is kept"
        )
    return recipe


def stamp(recipe: dict, identity: str) -> dict:
    """Return the provenance of what is about to be made."""
    return stamped(expect(recipe, identity))


def known(name: str, allowed: list[str], noun: str) -> str:
    """Return a name of the params.

    Raises
    ------
    ElisionError
        If the params have no such name.
    """
    if name not in allowed:
        raise ElisionError(f"params.yaml has no {noun} {name!r}; {parameters.suggestion(name, allowed)}")
    return name


def by_row(named: dict[str, object]) -> dict[tuple[str, ...], object]:
    """Split the names ``DATASET/METHOD`` or ``DATASET/METHOD/RUN`` of what is told of rows."""
    return {tuple(name.split("/")): value for name, value in named.items()}


class Workspace:
    """The params and the folder of the results, whose artifacts are opened only if the params ask for them.

    Parameters
    ----------
    params : Path
        The params file.
    results : Path or None
        The folder of the results; None: ``results`` of the params file.

    Raises
    ------
    ElisionError
        If the params are wrong, or the results are no folder. Each method raises one if a name is unknown, or if an
        artifact is missing, damaged, or made otherwise than the params ask for.
    """

    def __init__(self, params: Path, results: Path | None) -> None:
        self.params = parameters.load(params)
        self.layout = Layout(results or Path(self.params.results))
        if self.layout.root.exists() and not self.layout.root.is_dir():
            raise ElisionError(f"{self.layout.root} is a file; give a folder for the results")

    @cached_property
    def recipes(self) -> Recipes:
        """The recipe of each artifact."""
        return Recipes(self.params, self.layout)

    def check_dataset(self, dataset: str) -> None:
        """Refuse a dataset that the params do not have."""
        known(dataset, list(self.params.datasets), "dataset")

    def check_modality(self, dataset: str, modality: str) -> None:
        """Refuse a modality that is not extracted from a dataset."""
        self.check_dataset(dataset)
        allowed = parameters.extracted(self.params, dataset)
        if modality not in allowed:
            raise ElisionError(
                f"{modality!r} is not extracted from dataset {dataset!r}; "
                + (parameters.suggestion(modality, allowed) if allowed else "the dataset consists of features already")
            )

    def check_shard(self, shard: int) -> None:
        """Refuse a shard that the params do not have."""
        if not 0 <= shard < self.params.features.shards:
            most = self.params.features.shards - 1
            raise ElisionError(f"shard {shard} does not exist; give a number from 0 to {most} (features.shards - 1)")

    def media(self, dataset: str, kind: str) -> "Of":
        """Return what the params set for a kind of corrupted media that a dataset is tested under."""
        self.check_dataset(dataset)
        known(kind, list(self.params.media_for(dataset)), f"kind of corrupted media of {dataset}")
        return self.params.media_for(dataset)[kind]

    def corrupted_clips(self, dataset: str, data: str) -> "dict[str, CorruptedClips]":
        """Open what was extracted of the corrupted test clips of a dataset, by kind; ``data``: its digest."""
        from elision.corruption.clips import CorruptedClips

        found = {}
        for kind in self.params.media_for(dataset):
            path, _ = self.layout.corrupted(dataset, kind)
            found[kind] = CorruptedClips.read(path)
            check(found[kind].provenance, self.recipes.corrupt_media(dataset, kind), path)
            check_data(found[kind].provenance["data"], data, path)
        return found

    def measured(self) -> "pd.DataFrame | None":
        """Read what was measured of corrupted media, as ``report.Results`` has it; None, if no media are corrupted."""
        import pandas as pd

        from elision.corruption.clips import means
        from elision.store import read_table

        parts = []
        for test, (_, tested_on) in self.params.tests.items():
            for kind in self.params.media_for(tested_on):
                _, path = self.layout.corrupted(tested_on, kind)
                table, found = read_table(path)
                check(found, self.recipes.corrupt_media(tested_on, kind), path)
                parts.append(means(table, kinds()[kind].measured).assign(dataset=test, kind=kind))
        return pd.concat(parts, ignore_index=True) if parts else None

    def check_run(self, dataset: str, method: str, run: str, *, among: list[str], noun: str = "method") -> None:
        """Refuse a run that the params do not have; ``among``: the methods that are allowed."""
        self.check_dataset(dataset)
        known(method, among, noun)
        known(run, self.params.runs(dataset), "run")

    def gpu(self, device: str) -> "AbstractContextManager":
        """Lease a GPU, if a device is one of several."""
        from elision.devices import lease

        return lease(device, jobs_per_gpu=self.params.train.jobs_per_gpu)

    def planned(self, runs: list[str], identities: list[str] | None) -> dict[str, str]:
        """Return the identity that the caller expects of each run; empty, where the caller expects none.

        Raises
        ------
        ElisionError
            If a run is given twice, or the numbers differ.
        """
        if twice := [run for run in runs if runs.count(run) > 1]:
            raise ElisionError(f"--run: {twice[0]} is given twice; give each run once")
        if identities and len(identities) != len(runs):
            raise ElisionError(
                f"--recipe is given {plural(len(identities), 'time')}, and --run {plural(len(runs), 'time')}; give one "
                "--recipe for each --run, or none"
            )
        return dict(zip(runs, identities or [""] * len(runs), strict=True))

    def weights(self, dataset: str, methods: Iterable[str], run: str) -> dict[str, str]:
        """Return the digests of the weights of some methods, as far as they are trained and can be read."""
        found = {}
        for method in methods:
            with suppress(OSError, ValueError, KeyError, TypeError):
                *_, path = self.layout.model(dataset, method, run)
                found[method] = json.loads(path.read_text(encoding="utf-8"))["weights"]
        return found

    def make_room(self, path: Path, provenance: dict, **made_from: str | None) -> bool:
        """Give an artifact back, if it was made earlier, or make room for it (see ``kept.make_room``)."""
        return kept.make_room(self.layout, path, provenance["identity"], **made_from)

    def trials(self, dataset: str, method: str, run: str) -> "tuple[pd.DataFrame, dict]":
        """Read the trials of a finished search, and how it was made; ``run`` is one that tunes, or is tuned."""
        from elision.store import read_table

        study = (dataset, method, self.params.tuning_run(dataset, run))
        path = self.layout.trials(*study)
        rows, found = read_table(path)
        check(found, self.recipes.tune(*study), path)
        return rows, found

    def winners(self, dataset: str, methods: Iterable[str], run: str) -> dict[str, dict]:
        """Return the trial and the values that tuning chose for a run, by method; nothing for methods not tuned."""
        tuned = [name for name in self.params.tuned if name in methods]
        return {name: self.trials(dataset, name, run)[1]["winner"] for name in tuned}

    def run(self, dataset: str, method: str, run: str, tested_on: str = "", *, tuned: bool = True) -> "Run":
        """Assemble a run with its tuned hyperparameters, and those of its teachers; without its own, if not ``tuned``.

        Parameters as of ``training.run.Run``.
        """
        from elision.training.run import Run

        names, waiting = {method} if tuned else set(), [method]
        while waiting:
            teachers = parameters.needs(self.params.trained[waiting.pop()].method)
            names |= {*teachers}
            waiting += teachers
        values = {name: won["values"] for name, won in self.winners(dataset, names, run).items()}
        return Run(self.params.with_values(values) if values else self.params, dataset, method, run, tested_on)

    def tuned_by(self, dataset: str, method: str, run: str) -> dict[str, dict]:
        """Return what the provenance of a run says of its tuning: nothing, where the method is not tuned."""
        found = self.winners(dataset, [method], run)
        return {"tuned": found[method]} if found else {}

    def promised(self, dataset: str, method: str, run: str) -> dict | None:
        """Return what the training of a run must reach: one with the seed of the tuning; None, if nothing is known."""
        if method not in self.params.tuned or run != self.params.tuning_run(dataset, run):
            return None
        from elision.training.tuning import promised, trials_of

        rows, found = self.trials(dataset, method, run)
        return promised(trials_of(rows)[found["winner"]["trial"]], self.layout.study(dataset, method, run))

    def has(self, path: Path, provenance: dict, **made_from: object) -> bool:
        """Tell whether an artifact is there, or is given back; what was made otherwise becomes unused work."""
        found = kept.made_by(path) if path.exists() else {}
        if found.get("identity") == provenance["identity"]:
            if all(found.get(name) == value for name, value in made_from.items()):
                return True
            kept.put_aside(self.layout, [path])
        return kept.make_room(self.layout, path, provenance["identity"], **made_from)

    def search(self, dataset: str, method: str, run: str, store: "Store", recipe: dict) -> "Study":
        """Open what the trials of a search are made from."""
        from elision.training.tuning import Study

        this = self.run(dataset, method, run, tuned=False)
        given = {"spans": self.spans(this, store), "starts": self.starts(this, store)}
        return Study(this, recipe=recipe, store=self.seen(this, store), **given)

    def tuning(self) -> "pd.DataFrame | None":
        """Read all trials, as ``report.Results`` has them; None, if nothing is tuned."""
        import pandas as pd

        parts = []
        for dataset, method, run in self.params.studies:
            rows, found = self.trials(dataset, method, run)
            facts = {"dataset": dataset, "method": method, "run": run, "winner": found["winner"]["trial"]}
            parts.append(rows.assign(**facts, importances=json.dumps(found["importances"])))
        return pd.concat(parts, ignore_index=True) if parts else None

    def digest_of_clips(self, dataset: str) -> str:
        """Return the digest of the content of a dataset's clips."""
        from elision.store import read_table

        return read_table(self.layout.clips(dataset))[1]["data"]

    def store(self, dataset: str) -> "Store":
        """Open the store of a dataset."""
        from elision.store import Store

        self.check_dataset(dataset)
        layout, recipes = self.layout, self.recipes
        store = Store.open(layout.store(dataset))
        made_from = recipes.modalities(dataset)
        check(store.provenance, recipes.store(dataset), layout.samples(dataset))
        for name, sequences in store.modalities.items():
            recipe = made_from.get(name, recipes.prepare(dataset))
            check(sequences.header.provenance, recipe, layout.sequences(dataset, name))
        return store

    def with_vectors(self, dataset: str, store: "Store") -> "Store":
        """Return a store with its text vectors: its own, or those of its tokens, which the step `encode` made."""
        if "text_features" in store.modalities or "text" not in store.modalities:
            return store
        from elision.features import facts
        from elision.store import read_sequences

        path = self.layout.text_vectors(dataset)
        vectors = read_sequences(path)
        found = vectors.header.provenance
        check(found, self.recipes.encode(dataset), path)
        check_data(found["data"], store.provenance["data"], path)
        provenance = {**store.provenance, "made_with": {**store.provenance.get("made_with", {}), **of_all(found)}}
        if said := facts.sentences(vectors, []):
            provenance["read"] = [*provenance.get("read", []), *said]
        return replace(store, modalities={**store.modalities, "text_features": vectors}, provenance=provenance)

    def seen(self, run: "Run", store: "Store") -> "Store":
        """Return a store as a run sees it: with the text vectors, if the method reads them."""
        return self.with_vectors(run.tested_on, store) if run.view.reads_text == "vectors" else store

    def samples(self, dataset: str) -> "tuple[pd.DataFrame, str]":
        """Read the table of the samples of a dataset; returns the digest of the data, too."""
        from elision.store import read_table

        path = self.layout.samples(dataset)
        table, found = read_table(path)
        check(found, self.recipes.store(dataset), path)
        return table, found["data"]

    def plan(self, dataset: str, store: "Store") -> "Plan":
        """Read the test conditions of a dataset."""
        from elision.corruption.plan import read

        plan = read(*self.layout.corruptions(dataset))
        path = self.layout.corruptions(dataset)[0]
        check(plan.provenance, self.recipes.corrupt(dataset), path)
        check_data(plan.provenance["data"], store.provenance["data"], path)
        return plan

    def spans(self, run: "Run", store: "Store") -> "dict[str, np.ndarray] | None":
        """Open the frames of every text token, if a run asks for them."""
        timed = kinds()[run.mixture.kind].timed
        if self.params.corruption_for(run.tested_on).seed == "run":  # masks are drawn where they are needed
            timed |= parameters.asks_for_times(self.params, run.tested_on)
        return self.alignment(run.tested_on, store) if timed or run.hyperparameters.alignment == "words" else None

    def alignment(self, dataset: str, store: "Store") -> "dict[str, np.ndarray]":
        """Open the frames of every text token of a dataset."""
        from elision.features.align import Alignment

        path = self.layout.alignment(dataset)
        alignment = Alignment.open(path)
        check(alignment.provenance, self.recipes.align(dataset), path)
        check_data(alignment.provenance["data"], store.provenance["data"], path)
        return alignment.spans

    def record(self, dataset: str, method: str, run: str, store: "Store") -> dict:
        """Read ``run.json`` of a trained run, whose weights are its own."""
        from elision.evaluation.predict import read_run

        *_, path = self.layout.model(dataset, method, run)
        record = read_run(path, self.recipes.train(dataset, method, run), store.provenance["data"])
        if record["provenance"].get("tuned") != self.winners(dataset, [method], run).get(method):
            raise ElisionError(
                f"{path} was trained with other tuned hyperparameters than the search has now. Make the file again: "
                f"snakemake --cores all --force {path}"
            )
        return record

    def database(self, run: "Run", store: "Store", starts: dict[str, str]) -> "Database | None":
        """Open the database that a run searches, if it does; ``starts`` are the digests of the weights of teachers."""
        teacher = parameters.retrieves(run.method)
        if not teacher:
            return None
        from elision.methods.layers.retrieval import Database

        folder = self.layout.database(run.dataset, teacher, run.run)
        database, found = Database.read(folder, store.samples["id"].tolist())
        check(found, self.recipes.index(run.dataset, teacher, run.run), folder)
        check_data(found["data"], store.provenance["data"], folder)
        if found.get("weights") != starts.get(teacher):
            again = " ".join(map(str, self.layout.database_files(run.dataset, teacher, run.run)))
            raise ElisionError(
                f"{folder}: the database was made with other weights of {teacher} than the params ask for. Make the "
                f"database again, and after that all methods that search it: snakemake --cores all --force {again}"
            )
        return database

    def trained(self, run: "Run", store: "Store", tested: "Store", record: dict) -> dict:
        """Open a trained run and what it is tested on: the arguments of `evaluation.predict.Evaluation`.

        ``store`` is that of the training, and ``tested`` the one whose test split is predicted.
        """
        weights, *_ = self.layout.model(run.dataset, run.name, run.run)
        database = self.database(run, store, record["provenance"].get("starts", {}))
        if database is not None and run.tested_on != run.dataset:
            database.rows.fill_(-1)  # no sample that is predicted is one of it
        return {
            "run": run,
            "store": self.seen(run, tested),
            "plan": self.plan(run.tested_on, tested),
            "media": self.corrupted_clips(run.tested_on, tested.provenance["data"]),
            "weights": weights,
            "record": record,
            "spans": self.spans(run, tested),
            "database": database,
        }

    def starts(self, run: "Run", store: "Store") -> "Starts | None":
        """Open what a run starts from, if it starts from a teacher."""
        teachers = parameters.needs(run.method)
        if not teachers:
            return None
        from elision.training.loop import Starts

        weights = {teacher: self.layout.model(run.dataset, teacher, run.run)[0] for teacher in teachers}
        records = {teacher: self.record(run.dataset, teacher, run.run, store) for teacher in teachers}
        digests = {teacher: record["weights"] for teacher, record in records.items()}
        return Starts(weights, self.database(run, store, digests), records)

    def predictions(
        self, data: dict[str, str], made_with: dict[str, dict] | None = None
    ) -> "Iterator[tuple[str, str, str, str, pd.DataFrame]]":
        """Read all predictions, as ``aggregate`` takes them.

        Parameters
        ----------
        data : dict of str to str
            Digests of the datasets, as far as known; takes the others.
        made_with : dict, optional
            Takes the versions of libraries that made each, by ``DATASET/METHOD/RUN``.
        """
        from elision.store import read_table

        for test, (dataset, tested_on) in self.params.tests.items():
            for method in self.params.variants:
                for run in self.params.runs(dataset):
                    path = self.layout.predictions(test, method, run)
                    table, found = read_table(path)
                    check(found, self.recipes.evaluate(test, method, run), path)
                    check_data(found["data"], data.setdefault(tested_on, found["data"]), path)
                    if made_with is not None:
                        made_with[f"{test}/{method}/{run}"] = of_all(found)
                    yield test, found["family"], method, run, table

    def table(self, name: str, recipe: dict) -> "tuple[pd.DataFrame, dict]":
        """Read a table of the results, such as ``metrics``; returns its provenance, too."""
        from elision.store import read_table

        path = self.layout.root / f"{name}.parquet"
        table, found = read_table(path)
        check(found, recipe, path)
        return table, found

    def history(self, dataset: str, method: str, run: str) -> "tuple[dict, pd.DataFrame]":
        """Read the record and the history of a run, of which the weights need not be here."""
        import pandas as pd

        _, history, path = self.layout.model(dataset, method, run)
        record = json.loads(path.read_text(encoding="utf-8"))
        check(record["provenance"], self.recipes.train(dataset, method, run), path)
        return record, pd.read_csv(history)

    def representations(self, test: str, method: str, run: str, data: str) -> "dict[str, np.ndarray]":
        """Read the representations of a run; ``data`` is the digest of the data that it was tested on."""
        from elision.evaluation.representations import read

        path = self.layout.representations(test, method, run)
        arrays, found = read(path)
        check(found, self.recipes.evaluate(test, method, run), path)
        check_data(found["data"], data, path)
        return arrays

    def marks(self, made_with: dict[str, dict]) -> dict[tuple[str, str], dict[str, str]]:
        """Say what is to be known of the rows of tables; ``made_with`` as `predictions` gives it."""
        from elision.report.marks import marks

        accepted = by_row(self.recipes.accepted)
        return marks(by_row(made_with), accepted, self.synthetic, self.known_from, self.tuned)

    @property
    def synthetic(self) -> list[tuple[str, str]]:
        """Dataset and method, where the dataset is synthetic."""
        params = self.params
        made = {name for name, entry in params.datasets.items() if parameters.synthetic(entry.source)}
        return [(test, method) for test, pair in params.tests.items() if made & {*pair} for method in params.trained]

    @property
    def tuned(self) -> dict[tuple[str, str], str]:
        """By dataset and method: the budget of tuning; nothing for methods that are not tuned."""
        budget = plural(self.params.tune.trials, "trial") if self.params.tune else ""
        return {(test, name): budget for test in self.params.tests for name in self.params.tuned}

    @property
    def known_from(self) -> dict[tuple[str, str], str]:
        """By dataset and method: from what a method was built without its paper; empty, where it was not."""
        trained = {name: parameters.known_from(variant.method) for name, variant in self.params.trained.items()}
        return {(test, name): text for test in self.params.tests for name, text in trained.items()}
