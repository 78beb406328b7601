"""Run one step of the workflow, or look at params, methods and results."""

import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from elision.errors import ElisionError, of_disk, of_path, stop
from elision.provenance import kept
from elision.provenance import layout as layouts
from elision.provenance.contents import PYFEAT_WEIGHTS
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes, check, check_data, digest
from elision.provenance.versions import of_all, of_run, stamped, versions
from elision.settings import params as parameters
from elision.task import OFFICIAL_SPECS

if TYPE_CHECKING:
    import numpy as np

    from elision.store import Store

app = typer.Typer(suggest_commands=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)
params_app = typer.Typer(suggest_commands=False, help="Check or show params.yaml.")
fetch_app = typer.Typer(suggest_commands=False, help="Download model weights for machines without a network.")
export_app = typer.Typer(suggest_commands=False, help="Write a dataset in the format of another tool.")
published_app = typer.Typer(suggest_commands=False, help="Check published numbers.")
app.add_typer(params_app, name="params")
app.add_typer(fetch_app, name="fetch")
app.add_typer(export_app, name="export")
app.add_typer(published_app, name="published")

ParamsFile = Annotated[Path, typer.Option("--params", envvar="ELISION_PARAMS", help="params file")]
Results = Annotated[
    Path | None,
    typer.Option(envvar="ELISION_RESULTS", help="folder of the results (default: `results` of the params file)"),
]
Dataset = Annotated[str, typer.Option(help="name of a dataset in params.yaml")]
MethodName = Annotated[str, typer.Option("--method", help="name of a method in params.yaml")]
Run = Annotated[str, typer.Option(help="run id, for example seed-1111 or seed-1111.fold-3")]
Recipe = Annotated[
    str,
    typer.Option(help="internal (set by Snakemake): refuse to run if settings or code changed since planning"),
]
Shard = Annotated[int, typer.Option(help="number of the shard, from 0 to features.shards - 1")]

PARAMS, RESULTS = Path("params.yaml"), None


def _settings(params: Path, results: Path | None) -> tuple[parameters.Params, Layout]:
    """Read the params file, and find the results folder."""
    settings = parameters.load(params)
    layout = Layout(results or Path(settings.results))
    if layout.root.exists() and not layout.root.is_dir():
        raise ElisionError(f"{layout.root}: is a file; give a folder for the results")
    return settings, layout


def _expected(recipe: dict, identity: str) -> dict:
    """Refuse to work when the params or the code changed since the workflow was planned."""
    if identity and identity != recipe["identity"]:
        raise ElisionError(
            f"params.yaml or the code of step {recipe['step']!r} changed while the workflow was running; "
            "start the workflow again, and it goes on with what is there"
        )
    return recipe


def _made(recipe: dict, identity: str, *more: str) -> dict:
    """Return the provenance of what is about to be made; ``more``: see ``versions.stamped``."""
    return stamped(_expected(recipe, identity), *more)


def _known(name: str, allowed: list[str], noun: str) -> str:
    if name not in allowed:
        raise ElisionError(f"params.yaml has no {noun} {name!r}; {parameters.suggestion(name, allowed)}")
    return name


def _known_run(params: parameters.Params, dataset: str, method: str, run: str, among: list[str], noun: str) -> None:
    _known(dataset, list(params.datasets), "dataset")
    _known(method, among, noun)
    _known(run, params.runs(dataset), "run")


def _gpu(params: parameters.Params, device: str):  # noqa: ANN202
    """Lease a GPU, if a device is one of several."""
    from elision.devices import lease

    return lease(device, jobs_per_gpu=params.train.jobs_per_gpu)


def _known_modality(params: parameters.Params, dataset: str, modality: str) -> None:
    _known(dataset, list(params.datasets), "dataset")
    allowed = parameters.extracted(params, dataset)
    if modality not in allowed:
        raise ElisionError(
            f"nothing to extract as {modality!r} from dataset {dataset!r}; "
            + (parameters.suggestion(modality, allowed) if allowed else "its source has features already")
        )


def _open(params: parameters.Params, dataset: str, layout: Layout):  # noqa: ANN202
    """Open the store of a dataset, if it is the one that the params ask for."""
    from elision.store import Store

    _known(dataset, list(params.datasets), "dataset")
    store = Store.open(layout.store(dataset))
    recipes = Recipes(params, layout)
    made_from = recipes.modalities(dataset)
    check(store.provenance, recipes.store(dataset), layout.samples(dataset))
    for name, sequences in store.modalities.items():
        check(
            sequences.header.provenance, made_from.get(name, recipes.prepare(dataset)), layout.sequences(dataset, name)
        )
    return store


def _data_of_clips(layout: Layout, dataset: str) -> str:
    """Return the digest of the content of a dataset's clips."""
    from elision.store import read_table

    return read_table(layout.clips(dataset))[1]["data"]


def _plan(params: parameters.Params, dataset: str, store: "Store", layout: Layout):  # noqa: ANN202
    from elision.corruption.plan import read

    plan = read(*layout.corruptions(dataset))
    path = layout.corruptions(dataset)[0]
    check(plan.provenance, Recipes(params, layout).corrupt(dataset), path)
    check_data(plan.provenance["data"], store.provenance["data"], path)
    return plan


def _spans(
    params: parameters.Params, dataset: str, method: str, store: "Store", layout: Layout
) -> "dict[str, np.ndarray] | None":
    """Open the frames of every text token, if a method asks for them."""
    from elision.features.align import Alignment
    from elision.methods import resolve_variant

    hyperparameters, _ = resolve_variant(params, params.trained[method], dataset)
    if hyperparameters.alignment != "words":
        return None
    path = layout.alignment(dataset)
    alignment = Alignment.open(path)
    check(alignment.provenance, Recipes(params, layout).align(dataset), path)
    check_data(alignment.provenance["data"], store.provenance["data"], path)
    return alignment.spans


def _database(  # noqa: ANN202
    params: parameters.Params, dataset: str, method: str, run: str, store: "Store", layout: Layout, starts: dict
):
    """Open the database that a method searches, if it does; ``starts`` are the digests of the weights of stages."""
    stage = parameters.retrieves(params.trained[method].method)
    if not stage:
        return None
    from elision.methods.layers.retrieval import Database

    folder = layout.database(dataset, stage, run)
    database, found = Database.read(folder, store.samples["id"].tolist())
    check(found, Recipes(params, layout).index(dataset, stage, run), folder)
    check_data(found["data"], store.provenance["data"], folder)
    if found.get("weights") != starts.get(stage):
        again = " ".join(map(str, layout.database_files(dataset, stage, run)))
        raise ElisionError(
            f"{folder}: was made with other weights of {stage} than are asked for; make it again, and then all that "
            f"starts from it: snakemake --cores all --force {again}"
        )
    return database


def _starts(params: parameters.Params, dataset: str, method: str, run: str, store: "Store", layout: Layout):  # noqa: ANN202
    """Find what a run starts from, and make sure that it is what is asked for."""
    stages = parameters.needs(params.trained[method].method)
    if not stages:
        return None
    from elision.evaluation.predict import read_run
    from elision.training.loop import Starts

    weights, records, recipes = {}, {}, Recipes(params, layout)
    for stage in stages:
        weights[stage], _, path = layout.model(dataset, stage, run)
        records[stage] = read_run(path, recipes.train(dataset, stage, run), store.provenance["data"])
    digests = {stage: record["weights"] for stage, record in records.items()}
    return Starts(weights, _database(params, dataset, method, run, store, layout, digests), records)


def _trained(params: parameters.Params, dataset: str, method: str, run: str, layout: Layout) -> dict:
    """Open a trained run and what it is tested on: the arguments of ``evaluate`` and ``represent``."""
    from elision.evaluation.predict import read_run

    _known_run(params, dataset, method, run, list(params.variants), "method")
    store = _open(params, dataset, layout)
    weights, _, path = layout.model(dataset, method, run)
    record = read_run(path, Recipes(params, layout).train(dataset, method, run), store.provenance["data"])
    starts = record["provenance"].get("starts", {})
    return {
        "store": store,
        "plan": _plan(params, dataset, store, layout),
        "weights": weights,
        "record": record,
        "spans": _spans(params, dataset, method, store, layout),
        "database": _database(params, dataset, method, run, store, layout, starts),
    }


def _searching(opened: dict) -> list[str]:
    return ["search"] if opened["database"] else []


def _made_with(opened: dict) -> dict[str, dict[str, str]]:
    """Return the versions of libraries that made what `_trained` opened."""
    return {**of_all(opened["plan"].provenance), **of_run(opened["record"])}


@app.command()
def prepare(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Make or check the clips or the features of a dataset."""
    from elision.datasets._prepare import prepare as run_prepare

    settings, layout = _settings(params, results)
    provenance = _made(Recipes(settings, layout).prepare(_known(dataset, list(settings.datasets), "dataset")), recipe)
    from_clips = parameters.extracted(settings, dataset)
    made = layout.clips(dataset) if from_clips else layout.samples(dataset)
    if kept.make_room(layout, made, provenance["identity"]):
        return
    run_prepare(
        settings,
        dataset,
        clips=layout.clips(dataset),
        media=layout.media(dataset),
        store=layout.store(dataset),
        provenance=provenance,
    )


@app.command()
def extract(
    modality: Annotated[str, typer.Argument(help="text, audio, vision or text_features")],
    dataset: Dataset,
    shard: Shard,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Extract the features of one modality from one shard."""
    from elision.features.shards import extract as run_extract

    settings, layout = _settings(params, results)
    _known_modality(settings, dataset, modality)
    if not 0 <= shard < settings.features.shards:
        raise ElisionError(f"no shard {shard}; features.shards is {settings.features.shards}, and shards count from 0")
    recipes = Recipes(settings, layout)
    provenance = _made(recipes.extract(dataset, modality), recipe)
    merged = kept.find(layout, layout.sequences(dataset, modality), provenance["identity"])
    on_gpu = modality == "vision" and settings.features.vision.extractor == "pyfeat" and not merged
    with _gpu(settings, "auto" if on_gpu else "cpu"):
        run_extract(
            modality,
            clips=layout.clips(dataset),
            clips_recipe=recipes.prepare(dataset),
            shard=shard,
            features=settings.features,
            output=layout.shard(dataset, modality, shard),
            provenance=provenance,
            merged=merged,
        )


@app.command()
def merge(
    modality: Annotated[str, typer.Argument(help="text, audio, vision or text_features")],
    dataset: Dataset,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Merge the shards of one modality."""
    from elision.features.shards import merge as run_merge

    settings, layout = _settings(params, results)
    _known_modality(settings, dataset, modality)
    provenance = _expected(Recipes(settings, layout).extract(dataset, modality), recipe)
    output, clips = layout.sequences(dataset, modality), _data_of_clips(layout, dataset)
    if kept.make_room(layout, output, provenance["identity"], clips=clips):
        return
    run_merge(
        modality,
        [layout.shard(dataset, modality, k) for k in range(settings.features.shards)],
        clips=layout.clips(dataset),
        features=settings.features,
        output=output,
        recipe=provenance,
    )


@app.command()
def complete(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Write the table of samples of a dataset of clips."""
    from elision.features.shards import complete as run_complete

    settings, layout = _settings(params, results)
    recipes = Recipes(settings, layout)
    modalities = recipes.modalities(_known(dataset, list(settings.datasets), "dataset"))
    provenance = _made(recipes.store(dataset), recipe)
    output, made_from = layout.samples(dataset), _data_of_clips(layout, dataset)
    if kept.make_room(layout, output, provenance["identity"], clips=made_from):
        return
    run_complete(
        settings=settings.datasets[dataset],
        clips=layout.clips(dataset),
        modalities={name: layout.sequences(dataset, name) for name in modalities},
        recipes=modalities,
        output=output,
        provenance=provenance,
    )


@app.command()
def align(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Find the audio and vision frames of every text token."""
    from elision.features.align import align as run_align

    settings, layout = _settings(params, results)
    store = _open(settings, dataset, layout)
    provenance = _made(Recipes(settings, layout).align(dataset), recipe)
    if not kept.make_room(layout, layout.alignment(dataset), provenance["identity"], data=store.provenance["data"]):
        run_align(store, output=layout.alignment(dataset), provenance=provenance)


@app.command()
def corrupt(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Draw the test conditions of a dataset, for all methods."""
    from elision.corruption.plan import write

    settings, layout = _settings(params, results)
    store = _open(settings, dataset, layout)
    provenance = _made(Recipes(settings, layout).corrupt(dataset), recipe)
    draws, description = layout.corruptions(dataset)
    if kept.make_room(layout, draws, provenance["identity"], data=store.provenance["data"]):
        return
    write(store, settings.corruption_for(dataset), draws, description, {**provenance, "data": store.provenance["data"]})


@app.command()
def train(
    dataset: Dataset,
    method: MethodName,
    run: Run,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Train one run of a method.

    An interrupted run goes on after its last saved epoch.
    """
    from elision.training.loop import train as run_train
    from elision.training.run import Run as Assembled

    settings, layout = _settings(params, results)
    _known_run(settings, dataset, method, run, list(settings.trained), "method")
    store = _open(settings, dataset, layout)
    provenance = _expected(Recipes(settings, layout).train(dataset, method, run), recipe)
    *_, record = layout.model(dataset, method, run)
    if kept.make_room(layout, record, provenance["identity"], data=store.provenance["data"]):
        return
    assembled = Assembled(settings, dataset, method, run)
    with _gpu(settings, settings.train.device):
        run_train(
            assembled,
            store=store,
            plan=_plan(settings, dataset, store, layout) if assembled.oracle else None,
            folder=layout.run(dataset, method, run),
            recipe=provenance,
            spans=_spans(settings, dataset, method, store, layout),
            starts=_starts(settings, dataset, method, run, store, layout),
        )


@app.command()
def index(
    dataset: Dataset,
    stage: Annotated[str, typer.Option(help="stage whose hidden vectors are searched, such as ramer_encoders")],
    run: Run,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write the retrieval database of a stage."""
    from elision.evaluation.predict import read_run
    from elision.training.index import index as run_index
    from elision.training.run import Run as Assembled

    settings, layout = _settings(params, results)
    searched = {parameters.retrieves(variant.method) for variant in settings.trained.values()} - {""}
    _known_run(settings, dataset, stage, run, sorted(searched), "stage that a method searches,")
    store = _open(settings, dataset, layout)
    recipes = Recipes(settings, layout)
    weights, _, record_path = layout.model(dataset, stage, run)
    provenance = _made(recipes.index(dataset, stage, run), recipe)
    record = read_run(record_path, recipes.train(dataset, stage, run), store.provenance["data"])
    made_from = {"data": store.provenance["data"], "weights": record["weights"]}
    *_, vectors = layout.database_files(dataset, stage, run)
    if kept.make_room(layout, vectors, provenance["identity"], **made_from):
        return
    with _gpu(settings, settings.train.device):
        run_index(
            Assembled(settings, dataset, stage, run),
            store=store,
            weights=weights,
            record=record,
            folder=layout.database(dataset, stage, run),
            provenance=provenance,
        )


@app.command()
def evaluate(
    dataset: Dataset,
    method: MethodName,
    run: Run,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Predict the test split under every test condition."""
    from elision.evaluation.metrics import family_name
    from elision.evaluation.predict import Evaluation
    from elision.store import write_table
    from elision.training.run import Run as Assembled

    settings, layout = _settings(params, results)
    opened = _trained(settings, dataset, method, run, layout)
    store = opened["store"]
    provenance = {
        **_made(Recipes(settings, layout).evaluate(dataset, method, run), recipe, *_searching(opened)),
        "made_with": _made_with(opened),
        "data": store.provenance["data"],
        "weights": opened["record"]["weights"],
        "selection": opened["record"]["selection"],
        "family": family_name(settings.datasets[dataset].corpus, store.classes),
    }
    path = layout.predictions(dataset, method, run)
    if kept.make_room(layout, path, provenance["identity"], data=provenance["data"], weights=provenance["weights"]):
        return
    with _gpu(settings, settings.train.device):
        write_table(path, Evaluation(Assembled(settings, dataset, method, run), **opened).predictions(), provenance)


@app.command()
def represent(
    dataset: Dataset,
    method: MethodName,
    run: Run,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write the fused representations of some test samples.

    Each sample is represented complete, and with parts missing.
    """
    from elision.evaluation.predict import Evaluation
    from elision.evaluation.representations import write
    from elision.training.run import Run as Assembled

    settings, layout = _settings(params, results)
    opened = _trained(settings, dataset, method, run, layout)
    provenance = {
        **_made(Recipes(settings, layout).represent(dataset, method, run), recipe, *_searching(opened)),
        "made_with": _made_with(opened),
        "data": opened["store"].provenance["data"],
        "weights": opened["record"]["weights"],
    }
    path = layout.representations(dataset, method, run)
    if kept.make_room(layout, path, provenance["identity"], data=provenance["data"], weights=provenance["weights"]):
        return
    with _gpu(settings, settings.train.device):
        write(path, Evaluation(Assembled(settings, dataset, method, run), **opened).representations(), provenance)


@app.command()
def predict(
    clips: Annotated[list[Path] | None, typer.Argument(metavar="CLIP...", help="video or audio files")] = None,
    *,
    model: Annotated[Path, typer.Option(help="trained run: results/models/DATASET/METHOD/RUN")],
    text: Annotated[str | None, typer.Option(help="transcript of the clip, or a text without a clip")] = None,
    table: Annotated[
        Path | None, typer.Option("--clips", help="table of clips instead of files (columns id, path, text, ...)")
    ] = None,
    rates: Annotated[str, typer.Option(help="missing rates, separated by commas")] = "0.1,0.5,0.9",
    seed: Annotated[
        int, typer.Option(min=0, max=parameters.LARGEST_SEED, help="seed of the missing parts, as corruption.seed")
    ] = 1111,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N")] = "auto",
    accept_code: Annotated[
        bool, typer.Option("--accept-code", help="predict though the code changed since the training")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document (docs/predict.md)")] = False,
) -> None:
    """Predict clips with a trained run.

    Each clip is predicted with all of its modalities and with less.
    """
    if (table is None) == (not clips and text is None):
        raise typer.BadParameter("give clips, --text, or a table with --clips, and not both")
    if text is not None and len(clips or []) > 1:
        raise typer.BadParameter("--text is for one clip; list several clips and their texts in a table: --clips")
    if not re.fullmatch(parameters.DEVICE, device):
        raise typer.BadParameter(f"--device is {device!r}; give auto, cpu, mps, cuda or cuda:N")
    try:
        listed = [float(rate) for rate in rates.split(",") if rate.strip()]
    except ValueError:
        listed = [-1.0]
    if not all(0 <= rate <= 1 for rate in listed) or len(set(listed)) < len(listed):
        raise typer.BadParameter(f"--rates is {rates!r}; give different numbers from 0 to 1, with commas")
    from elision.datasets.clips import opened, unlabelled
    from elision.evaluation import ask

    trained = ask.Trained.open(model, device=device, accept_code=accept_code)
    found, problems = unlabelled(table) if table else opened(clips or [None], text)
    document = ask.ask(trained, found, problems, rates=listed, seed=seed)
    if as_json:
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        ask.show(document, Console())
    failed = [clip for clip in document["clips"] if clip["error"]]
    for clip in failed:
        print(f"elision: clip {clip['id']!r}: {clip['error']}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def collect(
    stage: Annotated[str, typer.Argument(help=", ".join(layouts.STAGES))],
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write the manifest of a stage.

    Finished work that the params do not ask for moves to results/unused.
    """
    from elision.provenance.adopt import remember
    from elision.provenance.manifest import collect as run_collect

    settings, layout = _settings(params, results)
    if stage not in layouts.STAGES:
        raise ElisionError(f"unknown stage {stage!r}; {parameters.suggestion(stage, list(layouts.STAGES))}")
    files, folders = set(layout.stage(stage, settings)), []
    if stage == "datasets":
        for dataset in settings.datasets:
            files |= {layout.sequences(dataset, name) for name in _open(settings, dataset, layout).modalities}
            folders.append(layout.media(dataset))
    run_collect(layout, stage, sorted(files), folders=folders)
    remember(layout.root / stage)


def _predictions(  # noqa: ANN202
    params: parameters.Params, layout: Layout, data: dict[str, str], made_with: dict[str, dict] | None = None
):
    """Read all predictions, as ``aggregate`` takes them.

    ``data`` are the digests of the datasets, as far as known; ``made_with`` takes the versions of libraries that made
    each, by ``DATASET/METHOD/RUN``.
    """
    from elision.store import read_table

    recipes = Recipes(params, layout)
    for dataset in params.datasets:
        for method in params.variants:
            for run in params.runs(dataset):
                path = layout.predictions(dataset, method, run)
                table, found = read_table(path)
                check(found, recipes.evaluate(dataset, method, run), path)
                check_data(found["data"], data.setdefault(dataset, found["data"]), path)
                if made_with is not None:
                    made_with[f"{dataset}/{method}/{run}"] = of_all(found)
                yield dataset, found["family"], method, run, table


def _marks(recipes: Recipes, made_with: dict[str, dict]) -> dict[tuple[str, str], dict[str, str]]:
    """Say what is to be known of the rows of tables; ``made_with`` as `_predictions` gives it."""
    from elision.report.marks import marks

    return marks(_split(made_with), _split(recipes.accepted))


def _split(named: dict) -> dict:
    return {tuple(name.split("/")): value for name, value in named.items()}


@app.command()
def aggregate(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Compute the metrics of all predictions."""
    from elision.evaluation import aggregate as aggregation
    from elision.files import replacing
    from elision.provenance.adopt import remember
    from elision.store import write_table

    settings, layout = _settings(params, results)
    data, made_with = {}, {}
    recipes = Recipes(settings, layout)
    expected = _made(recipes.aggregate, recipe)
    protocols = {dataset: settings.protocol_name(dataset) for dataset in settings.datasets}
    metrics = aggregation.aggregate(_predictions(settings, layout, data, made_with), protocols=protocols)
    confusions = aggregation.confusions(_predictions(settings, layout, data))
    provenance = {**expected, "data": digest(data), "made_with": made_with}
    summary = aggregation.summary(metrics, _marks(recipes, made_with))
    with replacing(layout.root / "metrics.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for name, table in (("confusions", confusions), ("metrics", metrics)):
        write_table(layout.root / f"{name}.parquet", table, provenance)
        remember(layout.root / f"{name}.parquet")


@app.command()
def significance(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Compute confidence intervals and compare all methods."""
    from elision.evaluation.significance import significance as run_significance
    from elision.provenance.adopt import remember
    from elision.store import read_table, write_table

    settings, layout = _settings(params, results)
    recipes = Recipes(settings, layout)
    expected = _made(recipes.significance, recipe)
    samples, data = {}, {}
    for dataset in settings.datasets:
        samples[dataset], found = read_table(layout.samples(dataset))
        check(found, recipes.store(dataset), layout.samples(dataset))
        data[dataset] = found["data"]
    made = run_significance(_predictions(settings, layout, data), samples, settings.statistics)
    for name, table in zip(("intervals", "comparisons"), made, strict=True):
        write_table(layout.root / f"{name}.parquet", table, {**expected, "data": digest(data)})
        remember(layout.root / f"{name}.parquet")


@app.command()
def report(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Write the tables, the figures and the page."""
    import pandas as pd

    from elision import report as reports
    from elision.evaluation.representations import read
    from elision.provenance.adopt import remember
    from elision.store import read_table

    settings, layout = _settings(params, results)
    recipes = Recipes(settings, layout)
    identity = _expected(recipes.report, recipe)["identity"]
    tables, data, made_with = {}, {}, {}
    made_by = dict.fromkeys(("metrics", "confusions"), recipes.aggregate)
    made_by |= dict.fromkeys(("intervals", "comparisons"), recipes.significance)
    for name, expected in made_by.items():
        path = layout.root / f"{name}.parquet"
        tables[name], found = read_table(path)
        check(found, expected, path)
        made_with |= found.get("made_with", {})
    records, histories = {}, {}
    for dataset in settings.datasets:
        for method in settings.trained:
            for run in settings.runs(dataset):
                _, history, path = layout.model(dataset, method, run)
                record = json.loads(path.read_text(encoding="utf-8"))
                check(record["provenance"], recipes.train(dataset, method, run), path)
                records[dataset, method, run] = record
                data[dataset] = record["provenance"]["data"]
                histories[dataset, method, run] = pd.read_csv(history)
    representations = {}
    for dataset in settings.datasets:
        for method in settings.variants:
            run = settings.runs(dataset)[0]
            path = layout.representations(dataset, method, run)
            representations[dataset, method], found = read(path)
            check(found, recipes.represent(dataset, method, run), path)
            check_data(found["data"], records[dataset, method, run]["provenance"]["data"], path)
    asked = reports.asked(settings)
    reports.build(
        reports.Results(
            **tables,
            records=records,
            histories=histories,
            representations=representations,
            published={name: entry.published for name, entry in settings.datasets.items() if entry.published},
            protocols={name: settings.protocol_text(name) for name in settings.datasets},
            made_with=_split(made_with),
            accepted=_split(recipes.accepted),
        ),
        layout.root,
        methods=list(settings.variants),
        settings={"params": settings.model_dump(mode="json"), "versions": versions("report")},
        asked=asked,
        provenance=f"{identity} {digest(data)}",
    )
    written = {layout.root / name for name in reports.files(asked)}
    there = (path for folder in ("tables", "figures", "plots") for path in (layout.root / folder).glob("*"))
    kept.put_aside(layout, (path for path in there if path.is_file() and path not in written))
    remember(layout.root / "report.html")


@app.command()
def headline(params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Print the main table and where the report is."""
    from elision.report import headline as table_of
    from elision.store import read_table

    settings, layout = _settings(params, results)
    path = layout.root / "metrics.parquet"
    metrics, found = read_table(path)
    recipes = Recipes(settings, layout)
    check(found, recipes.aggregate, path)
    print(table_of(metrics, _marks(recipes, found.get("made_with", {}))))
    print(f"\nreport: {(layout.root / 'report.html').resolve().as_uri()}")
    if told := kept.notice(layout):
        print(f"\n{told}")


@params_app.command("schema")
def params_schema() -> None:
    """Print the JSON schema of params.yaml.

    An editor completes and checks params.yaml with it: elision params schema > params.schema.json
    """
    from elision.settings.schema import schema

    print(json.dumps(schema(), indent=2))


@params_app.command("check")
def params_check(params: ParamsFile = PARAMS) -> None:
    """Check params.yaml and the hyperparameters of its methods."""
    from elision.methods import check as check_methods
    from elision.methods import load_all

    check_methods(parameters.load(params))
    for problem in load_all()[1].values():
        print(f"elision: not used by {params}: {problem}", file=sys.stderr)


@params_app.command("show")
def params_show(
    method: Annotated[str, typer.Argument(help="name under methods: in params.yaml, or any method")],
    dataset: Dataset,
    params: ParamsFile = PARAMS,
) -> None:
    """Print the hyperparameters of a method on a dataset.

    The table says where each value comes from.
    """
    from elision.methods import resolve_variant

    settings = parameters.load(params)
    _known(dataset, list(settings.datasets), "dataset")
    variants = {name: settings.stage(name) for name in parameters.method_names()} | settings.variants
    variant = variants[_known(method, list(variants), "method")]
    hyperparameters, origins = resolve_variant(settings, variant, dataset)
    table = Table("hyperparameter", "value", "from", "meaning", title=f"{variant.name} on {dataset}")
    for name, field in type(hyperparameters).model_fields.items():
        table.add_row(name, str(getattr(hyperparameters, name)), origins[name], field.description or "")
    Console().print(table)


@app.command()
def methods(
    name: Annotated[str, typer.Argument(help="a method to describe, with its hyperparameters")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print names and parameter counts as JSON")] = False,
    dataset_dims: Annotated[
        str, typer.Option(help=f"sizes for --json: {', '.join(OFFICIAL_SPECS)} (default: mosi)", show_default=False)
    ] = "",
) -> None:
    """List the methods, or describe one."""
    if as_json:
        from elision.methods import counts

        if name:
            raise typer.BadParameter(f"--json counts the parameters of all methods; leave out {name}")
        known = list(OFFICIAL_SPECS)
        if dataset_dims and dataset_dims not in known:
            raise typer.BadParameter(
                f"--dataset-dims: unknown {dataset_dims!r}; {parameters.suggestion(dataset_dims, known)}"
            )
        print(json.dumps(counts(dataset_dims or "mosi"), indent=1))
        return
    if dataset_dims:
        raise typer.BadParameter("--dataset-dims is for --json")
    from elision.settings import catalogue

    if name:
        print(catalogue.card(name))
    else:
        Console().print(catalogue.listing())


@app.command()
def doctor(params: ParamsFile = PARAMS) -> None:
    """Report missing software or hardware.

    The table names the features that need each of them. The exit code is 1 if nothing can work.
    """
    from elision.cli.doctor import examine

    if params != PARAMS or params.exists():
        settings = parameters.load(params)
        train = settings.train
        findings = examine(settings.features.text.encoder, device=train.device, jobs_per_gpu=train.jobs_per_gpu)
    else:
        findings = examine("minilm")
    table = Table("", "what", "found, or prevented")
    for finding in findings:
        sign = "ok" if finding.found else "MISSING" if finding.needed else "absent"
        table.add_row(sign, finding.name, finding.found or f"prevents: {finding.prevents}")
    Console().print(table)
    if any(finding.needed and not finding.found for finding in findings):
        raise typer.Exit(1)


@app.command()
def adopt(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS...", help="for Snakemake, such as --use-conda")
    ] = None,
    *,
    accept_code: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP", help="keep what older code of this step made: train, evaluate, ... or all"),
    ] = None,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Re-register existing results.

    This is needed after an interruption, `dvc pull` or a copy.
    """
    from elision.provenance.adopt import accept
    from elision.provenance.adopt import adopt as run_adopt

    settings, layout = _settings(params, results)
    if not layout.root.exists():
        print(f"{layout.root}: no such folder yet; nothing to re-register")
    if accept_code:
        accept(settings, layout, [step for steps in accept_code for step in steps.split(",")])
    run_adopt(settings, layout, arguments or [], file=params)


@app.command()
def clean(
    unused: Annotated[bool, typer.Option("--unused", help="delete what is listed without this option")] = False,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """List or delete finished work that the params do not ask for."""
    _, layout = _settings(params, results)
    if not layout.root.exists():
        raise ElisionError(f"{layout.root}: no such folder; give the folder of the results, or run the workflow first")
    told = kept.unused(layout)
    if unused and told:
        kept.clean(layout)
        print(f"deleted {layout.unused}: {told}")
    else:
        print(kept.notice(layout) or f"{layout.root}: the params ask for everything that is here")


@app.command("import-data")
def import_data(
    path: Annotated[Path, typer.Argument(help="folder of clips or features, or one feature file")],
    name: Annotated[str, typer.Option(help="name of the dataset (default: name of the folder)")] = "",
    settings: Annotated[
        str,
        typer.Option(
            help="more settings of the dataset as YAML, for example 'corpus: sims'; paths are relative to the folder"
        ),
    ] = "",
) -> None:
    """Check data of your own and copy them into data/.

    DVC then tracks the copy, and the command says what to type next.
    """
    from elision.cli.importing import import_data as run_import
    from elision.settings import strict_yaml

    given = strict_yaml.parse(settings, "--settings") or {}
    if not isinstance(given, dict):
        raise ElisionError(f"--settings: {settings!r} is not a mapping, such as 'corpus: sims'")
    print(run_import(path, name or (path.stem if path.is_file() else path.resolve().name), given), end="")


@fetch_app.command("pyfeat")
def fetch_pyfeat(
    folder: Annotated[
        Path, typer.Option(help="folder of the downloads, which can be copied to other machines")
    ] = PYFEAT_WEIGHTS,
) -> None:
    """Download the weights of py-feat and install them."""
    from elision.features.pyfeat import fetch

    fetch(folder)


@export_app.command("mmsa")
def export_mmsa(
    dataset: Dataset,
    file: Annotated[Path, typer.Argument(help="file to write (.pkl)")],
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write a dataset as a feature file of MMSA."""
    from elision.datasets.mmsa import export

    settings, layout = _settings(params, results)
    if not file.parent.is_dir() or file.is_dir():
        wrong = f"{file}: is a folder" if file.is_dir() else f"{file.parent}: no such folder"
        raise ElisionError(f"{wrong}; give a file in a folder that exists")
    _open(settings, dataset, layout)
    export(layout.store(dataset), file)


@published_app.command("check")
def published_check(
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Find impossible numbers in published tables.

    The exit code is 1 if the findings are not exactly the known errata.
    """
    from dataclasses import asdict

    from elision.published import check as checks
    from elision.published import errata, load

    found = checks.findings(load())
    new, lost = checks.unexpected(found)
    if as_json:
        listed = {"findings": found, "unknown": new, "not_found": lost}
        print(json.dumps({name: [asdict(finding) for finding in these] for name, these in listed.items()}, indent=1))
    else:
        table = Table("check", "where", "metric", "why")
        for finding in found:
            where = f"{finding.source} {finding.table}, {finding.method}, {finding.dataset}, {finding.corruption}"
            table.add_row(finding.check, f"{where} {finding.level}".rstrip(), finding.metric, finding.why)
        Console().print(table)
        told = int((errata()["check"] == "").sum())
        known = f"{len(found) - len(new)} of {len(found)} findings are known errata"
        print(f"{known}; {told} more errata no arithmetic finds: authors gave them")
    for finding in new:
        print(f"no known erratum: {finding}", file=sys.stderr)
    for finding in lost:
        print(f"known erratum that was not found: {finding}", file=sys.stderr)
    if new or lost:
        raise typer.Exit(1)


def _usage(error: typer.TyperException) -> str:
    """Say in one line what is wrong with what was typed, and where to read what is right."""
    told, context = error.message.rstrip("."), getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    if option := getattr(error, "option_name", None):
        options = [name for known in context.command.get_params(context) for name in known.opts]
        told += f"; {parameters.suggestion(option, options)}"
    elif verbs := getattr(context.command, "commands", None):
        word = "".join(re.findall("'(.*)'", told))
        told += f"; {parameters.suggestion(word, list(verbs))}"
    else:
        told = error.format_message().rstrip(".")
    return f"{told}; see {context.command_path} --help"


def main() -> None:
    """Run the command line; what the user can put right ends with its message and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("numexpr", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        try:
            code = app(sys.argv[1:] or ["--help"], prog_name="elision", standalone_mode=False)
        finally:
            sys.stdout.flush()  # a log on a full disk fails here, where it can be told
    except ElisionError as error:
        stop(error)
    except typer.TyperException as error:
        stop(_usage(error))
    except BrokenPipeError:  # the reader has seen enough: elision methods | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if told := of_disk(error) or of_path(error):
            stop(told)
        raise
    sys.exit(code)
