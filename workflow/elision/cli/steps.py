"""The verbs that rules call. Each verb is one step of the workflow."""

import json
import shutil
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Annotated

import typer

from elision.cli.opened import (
    PARAMS,
    RESULTS,
    Dataset,
    KindName,
    MethodName,
    ParamsFile,
    Recipe,
    RecipesOfRuns,
    Results,
    RunName,
    RunNames,
    Shard,
    Test,
    Workspace,
    by_row,
    expect,
    known,
    stamp,
)
from elision.errors import ElisionError, plural
from elision.provenance import kept
from elision.provenance import layout as layouts
from elision.provenance.recipe import digest
from elision.provenance.versions import joined, of_all, of_run, stamped, versions
from elision.settings import params as parameters

app = typer.Typer()


@app.command()
def prepare(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Check the clips or the features of a dataset, or make them."""
    from elision.datasets._prepare import prepare as run_prepare
    from elision.evaluation import elsewhere

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    opened.check_dataset(dataset)
    provenance = stamp(opened.recipes.prepare(dataset), recipe)
    from_clips = parameters.extracted(settings, dataset)
    if not opened.make_room(layout.clips(dataset) if from_clips else layout.samples(dataset), provenance):
        run_prepare(
            settings,
            dataset,
            clips=layout.clips(dataset),
            media=layout.media(dataset),
            store=layout.store(dataset),
            provenance=provenance,
        )
    if not from_clips:
        elsewhere.check(opened.recipes, [dataset])


@app.command()
def extract(
    modality: Annotated[str, typer.Argument(help="text, audio or vision")],
    dataset: Dataset,
    shard: Shard,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Extract the features of one modality from one shard."""
    from elision.features.shards import extract as run_extract

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    opened.check_modality(dataset, modality)
    opened.check_shard(shard)
    provenance = stamp(opened.recipes.extract(dataset, modality), recipe)
    merged = kept.find(layout, layout.sequences(dataset, modality), provenance["identity"])
    features = settings.features_for(dataset)
    with opened.gpu("cpu" if merged else features.device_of(modality)):
        run_extract(
            modality,
            clips=layout.clips(dataset),
            clips_recipe=opened.recipes.prepare(dataset),
            shard=shard,
            features=features,
            output=layout.shard(dataset, modality, shard),
            provenance=provenance,
            merged=merged,
            media=settings.datasets[dataset].media,
            seed=settings.media_seed(dataset),
        )


@app.command()
def merge(
    modality: Annotated[str, typer.Argument(help="text, audio or vision")],
    dataset: Dataset,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Merge the shards of one modality."""
    from elision.features.shards import merge as run_merge

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    opened.check_modality(dataset, modality)
    provenance = expect(opened.recipes.extract(dataset, modality), recipe)
    output, clips = layout.sequences(dataset, modality), opened.digest_of_clips(dataset)
    if opened.make_room(output, provenance, clips=clips):
        return
    run_merge(
        modality,
        [layout.shard(dataset, modality, k) for k in range(settings.features.shards)],
        clips=layout.clips(dataset),
        features=settings.features_for(dataset),
        output=output,
        recipe=provenance,
    )


@app.command()
def assemble(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Write the table of samples of a dataset of clips."""
    from elision.evaluation import elsewhere
    from elision.features.shards import assemble as run_assemble

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    opened.check_dataset(dataset)
    modalities = opened.recipes.modalities(dataset)
    provenance = stamp(opened.recipes.store(dataset), recipe)
    output, made_from = layout.samples(dataset), opened.digest_of_clips(dataset)
    if not opened.make_room(output, provenance, clips=made_from):
        run_assemble(
            settings=settings.datasets[dataset],
            clips=layout.clips(dataset),
            modalities={name: layout.sequences(dataset, name) for name in modalities},
            recipes=modalities,
            output=output,
            provenance=provenance,
        )
    elsewhere.check(opened.recipes, [dataset])


@app.command()
def align(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Find the audio and vision frames of every text token."""
    from elision.features.align import align as run_align

    opened = Workspace(params, results)
    layout = opened.layout
    store = opened.store(dataset)
    provenance = stamp(opened.recipes.align(dataset), recipe)
    if not opened.make_room(layout.alignment(dataset), provenance, data=store.provenance["data"]):
        run_align(store, output=layout.alignment(dataset), provenance=provenance)


@app.command()
def encode(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Make text vectors of the text tokens of a dataset.

    All methods that read text vectors share the vectors.
    """
    from elision.features.encode import encode as run_encode

    opened = Workspace(params, results)
    settings, layout = opened.params.train, opened.layout
    store = opened.store(dataset)
    provenance = stamp(opened.recipes.encode(dataset), recipe)
    output = layout.text_vectors(dataset)
    if opened.make_room(output, provenance, data=store.provenance["data"]):
        return
    with opened.gpu(settings.device):
        device = "cpu"
        if "text" in store.modalities:
            from elision.training.run import choose_device, compute_in_float32

            compute_in_float32()
            device = choose_device(settings.device)
        run_encode(
            store,
            output=output,
            provenance=provenance,
            settings=opened.params.features_for(dataset).text,
            device=device,
            threads=settings.threads,
        )


@app.command()
def corrupt(dataset: Dataset, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Draw the test conditions of a dataset. All methods share the conditions."""
    from elision.corruption.plan import write

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    store = opened.store(dataset)
    provenance = stamp(opened.recipes.corrupt(dataset), recipe)
    draws, description = layout.corruptions(dataset)
    if opened.make_room(draws, provenance, data=store.provenance["data"]):
        return
    spans = opened.alignment(dataset, store) if parameters.asks_for_times(settings, dataset) else None
    provenance = {**provenance, "data": store.provenance["data"]}
    write(store, settings.corruption_for(dataset), draws, description, provenance, spans)


@app.command("corrupt-clips")
def corrupt_clips(
    dataset: Dataset,
    kind: KindName,
    shard: Shard,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Extract the test clips of one shard, corrupted."""
    from elision.corruption import medium
    from elision.features import corrupted
    from elision.store import read_table

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    asked = opened.media(dataset, kind)
    opened.check_shard(shard)
    store = opened.store(dataset)
    provenance = {**stamp(opened.recipes.corrupt_media(dataset, kind), recipe), "data": store.provenance["data"]}
    made = kept.find(layout, layout.corrupted(dataset, kind)[0], provenance["identity"])
    made = made if made and kept.made_by(made).get("data") == provenance["data"] else None
    recogniser = settings.recogniser_for(dataset, kind)
    features = corrupted.as_long_as(settings.features_for(dataset), store)
    output = layout.corrupted_shard(dataset, kind, shard)
    if made:  # which `merge-clips` gives back
        corrupted.CorruptedClips([], {}, [], {}, provenance).write(output)
        return
    device = features.device_of(medium.MODALITY[medium.facts(kind).medium])
    with opened.gpu("auto" if recogniser else device):
        clips = corrupted.of_test(read_table(layout.clips(dataset))[0], store.samples)
        print(
            f"{dataset}: {plural(len(clips), 'test clip')} under {kind} at severities "
            f"{', '.join(map(str, asked.severities))}, seed {settings.media_seed(dataset)}"
        )
        found = corrupted.corrupt(
            corrupted.Corruptor(clips, features, seed=settings.media_seed(dataset), recogniser=recogniser),
            medium.made(kind, asked.options),
            asked.severities,
            corrupted.part(clips, shard, settings.features.shards),
            before=corrupted.steps_of(settings.datasets[dataset].media),
            where=f", shard {shard + 1} of {settings.features.shards}",
        )
    replace(found, provenance=provenance).write(output)


@app.command("merge-clips")
def merge_clips(
    dataset: Dataset, kind: KindName, recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS
) -> None:
    """Merge the shards of one kind of corrupted media."""
    from elision.corruption.clips import CorruptedClips
    from elision.features.corrupted import finished
    from elision.provenance.recipe import check, check_data
    from elision.store import write_table

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    opened.media(dataset, kind)
    store = opened.store(dataset)
    expected, data = expect(opened.recipes.corrupt_media(dataset, kind), recipe), store.provenance["data"]
    output, measured = layout.corrupted(dataset, kind)
    if opened.make_room(output, expected, data=data):
        return
    shards = [layout.corrupted_shard(dataset, kind, number) for number in range(settings.features.shards)]
    parts = [CorruptedClips.read(path) for path in shards]
    for part, path in zip(parts, shards, strict=True):
        check(part.provenance, expected, path)
        check_data(part.provenance["data"], data, path)
    libraries = joined(part.provenance.get("versions", {}) for part in parts)
    whole = finished(parts, store, settings.features_for(dataset), {**parts[0].provenance, "versions": libraries})
    write_table(measured, whole.table(), whole.provenance)
    whole.write(output)
    print(f"{kind}: {plural(len(whole.ids), 'clip')} at {plural(len(whole.severities), 'severity level')}")
    for clip, why in whole.failed.items():
        print(f"clip {clip!r} has no {' and no '.join(whole.modalities)} under {kind}: {why}", file=sys.stderr)


@app.command()
def train(
    dataset: Dataset,
    method: MethodName,
    run: RunNames,
    recipe: RecipesOfRuns = None,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Train runs of a method.

    An interrupted run continues after the last epoch that was saved.
    """
    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    planned = opened.planned(run, recipe)
    for name in planned:
        opened.check_run(dataset, method, name, among=list(settings.trained))
    store = opened.store(dataset)
    turns = kept.Turns(layout, run)
    for name, identity in planned.items():
        provenance = expect(opened.recipes.train(dataset, method, name), identity)
        teachers = opened.weights(dataset, parameters.needs(settings.trained[method].method), name)
        *_, record = layout.model(dataset, method, name)
        won = opened.winners(dataset, [method], name).get(method)
        turns.ask(name, record, provenance["identity"], data=store.provenance["data"], starts=teachers, tuned=won)
    with opened.gpu(settings.train.device) if turns.missing else nullcontext():
        for name, _ in turns:
            from elision.training.loop import train as run_train

            this = opened.run(dataset, method, name)
            run_train(
                this,
                store=opened.seen(this, store),
                plan=opened.plan(dataset, store) if this.oracle else None,
                folder=layout.run(dataset, method, name),
                recipe={**opened.recipes.train(dataset, method, name), **opened.tuned_by(dataset, method, name)},
                spans=opened.spans(this, store),
                starts=opened.starts(this, store),
                promised=opened.promised(dataset, method, name),
            )


@app.command()
def tune(
    dataset: Dataset,
    method: MethodName,
    run: RunName,
    trial: Annotated[
        int | None, typer.Option(min=0, help="make this trial alone (default: all trials, and the choice of the best)")
    ] = None,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Search the hyperparameters of a method.

    The validation split alone judges the values. An interrupted search continues after the last finished trial.
    """
    from elision.store import read_table, write_table
    from elision.training import tuning

    opened = Workspace(params, results)
    settings, layout, recipes = opened.params, opened.layout, opened.recipes
    opened.check_dataset(dataset)
    known(method, settings.tuned, "tuned method")
    known(run, settings.tuning_runs(dataset), "run")
    count, study = settings.tune.trials, (dataset, method, run)
    if trial is not None and trial >= count:
        raise ElisionError(f"trial {trial} does not exist; give a number from 0 to {count - 1} (tune.trials - 1)")
    provenance = stamp(recipes.tune(*study) if trial is None else recipes.trial(*study), recipe)
    store = opened.store(dataset)
    starts = opened.weights(dataset, parameters.needs(settings.trained[method].method), run)
    made_from = {"data": store.provenance["data"], "starts": starts}
    if trial is None and opened.make_room(layout.trials(*study), provenance, **made_from):
        return
    of_trial = {**stamped(recipes.trial(*study)), **made_from}
    wanted = range(count) if trial is None else [*settings.tune.known_to(trial), trial]
    done: list[tuning.Trial] = []
    with ExitStack() as lease:
        search = None
        for number in wanted:
            path = layout.trial(*study, number)
            if opened.has(path, of_trial, **made_from):
                done += tuning.trials_of(read_table(path)[0])
                continue
            if trial not in (None, number):
                raise ElisionError(
                    f"{path} does not exist, or was made otherwise, but trial {trial} must know it; make the file: "
                    f"snakemake --cores all {path}"
                )
            if search is None:
                lease.enter_context(opened.gpu(settings.train.device))
                search = opened.search(*study, store, recipes.trial(*study))
            earlier = [done[k] for k in settings.tune.known_to(number)]
            found = search.trial(number, earlier, layout.study(*study) / f"trial-{number}")
            write_table(path, tuning.table([found]), of_trial)
            done.append(found)
        if trial is not None:
            return
        search = search or opened.search(*study, store, recipes.trial(*study))
        won = tuning.best(done, f"tune {dataset} {method} {run}")
        about = {"winner": tuning.winner(won), "importances": search.importances(done), **made_from}
        write_table(layout.trials(*study), tuning.table(done), {**provenance, **about})
        for left in layout.study(*study).glob("trial-*/"):  # interrupted trainings that nothing goes on with
            shutil.rmtree(left)
        print(f"best: {won}")


@app.command()
def index(
    dataset: Dataset,
    teacher: Annotated[str, typer.Option(help="teacher whose hidden vectors are searched, for example ramer_encoders")],
    run: RunName,
    recipe: Recipe = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write the retrieval database of a teacher."""
    from elision.training.index import index as run_index

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    searched = {parameters.retrieves(variant.method) for variant in settings.trained.values()} - {""}
    opened.check_run(dataset, teacher, run, among=sorted(searched), noun="teacher that a method searches,")
    store = opened.store(dataset)
    provenance = stamp(opened.recipes.index(dataset, teacher, run), recipe)
    record = opened.record(dataset, teacher, run, store)
    made_from = {"data": store.provenance["data"], "weights": record["weights"]}
    *_, vectors = layout.database_files(dataset, teacher, run)
    if opened.make_room(vectors, provenance, **made_from):
        return
    this = opened.run(dataset, teacher, run)
    with opened.gpu(settings.train.device):
        run_index(
            this,
            store=opened.seen(this, store),
            weights=layout.model(dataset, teacher, run)[0],
            record=record,
            folder=layout.database(dataset, teacher, run),
            provenance=provenance,
        )


@app.command()
def evaluate(
    test: Test,
    method: MethodName,
    run: RunNames,
    recipe: RecipesOfRuns = None,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Predict the test split under every test condition.

    The first run of a method also writes the fused representations of some test samples.
    """
    from elision.evaluation import representations
    from elision.evaluation.elsewhere import as_trained
    from elision.evaluation.metrics import family_name
    from elision.evaluation.predict import Evaluation
    from elision.store import write_table

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    planned = opened.planned(run, recipe)
    dataset, tested_on = settings.tests[known(test, list(settings.tests), "dataset")]
    for name in planned:
        opened.check_run(dataset, method, name, among=list(settings.variants))
    store = tested = opened.store(dataset)
    if tested_on != dataset:
        tested = as_trained(store, opened.store(tested_on), names=(dataset, tested_on))
    records = {name: opened.record(dataset, method, name, store) for name in planned}
    family = family_name(settings.datasets[tested_on].corpus, tested.classes)
    turns = kept.Turns(layout, run)
    for name, identity in planned.items():
        made_from = {"data": tested.provenance["data"], "weights": records[name]["weights"]}
        expected = expect(opened.recipes.evaluate(test, method, name), identity)["identity"]
        turns.ask(name, layout.predictions(test, method, name), expected, **made_from)
        if name == settings.runs(dataset)[0]:
            turns.ask(name, layout.representations(test, method, name), expected, **made_from)
    with opened.gpu(settings.train.device) if turns.missing else nullcontext():
        for name, missing in turns:
            found = opened.trained(opened.run(dataset, method, name, tested_on), store, tested, records[name])
            provenance = {
                **stamped(opened.recipes.evaluate(test, method, name)),
                "made_with": {**of_all(found["plan"].provenance), **of_run(records[name])},
                "data": tested.provenance["data"],
                "weights": records[name]["weights"],
            }
            evaluation = Evaluation(**found)
            for path in missing:
                if path == layout.predictions(test, method, name):
                    about = {**provenance, "selection": records[name]["selection"], "family": family}
                    write_table(path, evaluation.predictions(), about)
                else:
                    representations.write(path, evaluation.representations(), provenance)
            del evaluation  # one model at a time


@app.command()
def collect(
    stage: Annotated[str, typer.Argument(help=", ".join(layouts.STAGES))],
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write the manifest of a stage.

    The manifest lists the files of the stage with checksums. Finished work that the
    params do not ask for moves to results/unused.
    """
    from elision.provenance.adopt import remember
    from elision.provenance.manifest import collect as run_collect

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    if stage not in layouts.STAGES:
        raise ElisionError(f"unknown stage {stage!r}; {parameters.suggestion(stage, list(layouts.STAGES))}")
    files, folders = set(layout.stage(stage, settings)), []
    if stage == "datasets":
        for dataset in settings.datasets:
            files |= {layout.sequences(dataset, name) for name in opened.store(dataset).modalities}
            folders.append(layout.media(dataset))
    if stage == "tuning":
        folders += [layout.study(*study) for study in settings.studies]
    run_collect(layout, stage, sorted(files), folders=folders)
    remember(layout.root / stage)


@app.command()
def aggregate(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Compute the metrics of all predictions."""
    from elision.evaluation import aggregate as aggregation
    from elision.files import replacing
    from elision.provenance.adopt import remember
    from elision.store import write_table

    opened = Workspace(params, results)
    settings, root = opened.params, opened.layout.root
    data, made_with = {}, {}
    provenance = stamp(opened.recipes.aggregate, recipe)
    protocols = {test: settings.protocol_name(tested_on) for test, (_, tested_on) in settings.tests.items()}
    metrics, confusions = aggregation.both(opened.predictions(data, made_with), protocols=protocols)
    provenance |= {"data": digest(data), "made_with": made_with}
    summary = aggregation.summary(metrics, opened.marks(made_with))
    with replacing(root / "metrics.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for name, table in (("confusions", confusions), ("metrics", metrics)):
        write_table(root / f"{name}.parquet", table, provenance)
        remember(root / f"{name}.parquet")


@app.command()
def significance(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Compute confidence intervals and compare all methods."""
    from elision.evaluation.significance import significance as run_significance
    from elision.provenance.adopt import remember
    from elision.store import write_table

    opened = Workspace(params, results)
    provenance = stamp(opened.recipes.significance, recipe)
    samples, data = {}, {}
    for dataset in opened.params.datasets:
        samples[dataset], data[dataset] = opened.samples(dataset)
    tests = opened.params.tests
    samples = {test: samples[tested_on] for test, (_, tested_on) in tests.items()}
    units = {test: opened.params.statistics.cluster_of(tested_on) for test, (_, tested_on) in tests.items()}
    statistics = opened.params.statistics.model_copy(update={"cluster": units})
    made = run_significance(opened.predictions(data), samples, statistics)
    for name, table in zip(("intervals", "comparisons"), made, strict=True):
        path = opened.layout.root / f"{name}.parquet"
        write_table(path, table, {**provenance, "data": digest(data)})
        remember(path)


@app.command()
def examine(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Check the first run of every method, for the report."""
    from elision.evaluation.examine import table
    from elision.provenance.adopt import remember
    from elision.store import write_table

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    provenance = stamp(opened.recipes.examine, recipe)
    folders, data = {}, {}
    for dataset in settings.datasets:
        store = opened.store(dataset)
        data[dataset] = store.provenance["data"]
        for method in settings.trained:
            run = settings.runs(dataset)[0]
            opened.record(dataset, method, run, store)
            folders[dataset, method] = layout.run(dataset, method, run)
    write_table(layout.root / "checks.parquet", table(folders), {**provenance, "data": digest(data)})
    remember(layout.root / "checks.parquet")


@app.command()
def report(recipe: Recipe = "", params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Write the tables, the figures and the page report.html."""
    from elision import report as reports
    from elision.provenance.adopt import remember

    opened = Workspace(params, results)
    settings, layout, recipes = opened.params, opened.layout, opened.recipes
    identity = expect(recipes.report, recipe)["identity"]
    tables, made_with = {}, {}
    made_by = dict.fromkeys(("metrics", "confusions"), recipes.aggregate)
    made_by |= dict.fromkeys(("intervals", "comparisons"), recipes.significance)
    made_by |= {"checks": recipes.examine} if settings.report.check else {}
    for name, recipe_of in made_by.items():
        tables[name], found = opened.table(name, recipe_of)
        made_with |= found.get("made_with", {})
    records, histories, representations, data = {}, {}, {}, {}
    for dataset in settings.datasets:
        for method in settings.trained:
            for run in settings.runs(dataset):
                record, histories[dataset, method, run] = opened.history(dataset, method, run)
                records[dataset, method, run] = record
                data[dataset] = record["provenance"]["data"]
    for test, (dataset, tested_on) in settings.tests.items():
        for method in settings.variants:
            run = settings.runs(dataset)[0]
            representations[test, method] = opened.representations(test, method, run, data[tested_on])
    asked = reports.asked(settings)
    reports.build(
        reports.Results(
            **tables,
            records=records,
            histories=histories,
            representations=representations,
            published={name: entry.published for name, entry in settings.datasets.items() if entry.published},
            protocols={test: settings.protocol_text(tested_on) for test, (_, tested_on) in settings.tests.items()},
            tests=settings.tests,
            made_with=by_row(made_with),
            accepted=by_row(recipes.accepted),
            synthetic={dataset for dataset, _ in opened.synthetic},
            measured=opened.measured(),
            tuned=opened.tuned,
            tuning=opened.tuning(),
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
