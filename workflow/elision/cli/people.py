"""The verbs that people type: inspect params, methods and results, and predict clips with a trained run."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from elision.cli.opened import PARAMS, RESULTS, Dataset, KindName, ParamsFile, Results, Workspace, known
from elision.errors import ElisionError, plural
from elision.provenance import kept
from elision.provenance.contents import PYFEAT_WEIGHTS
from elision.provenance.layout import Layout
from elision.settings import params as parameters
from elision.task import OFFICIAL_SPECS

if TYPE_CHECKING:
    from elision.search import Searched

app = typer.Typer()
params_app = typer.Typer(suggest_commands=False, help="Check or show params.yaml.")
export_app = typer.Typer(suggest_commands=False, help="Write a dataset in the format of another tool.")
published_app = typer.Typer(suggest_commands=False, help="Check published numbers.")
app.add_typer(params_app, name="params")
app.add_typer(export_app, name="export")
app.add_typer(published_app, name="published")


@app.command()
def predict(
    clips: Annotated[list[Path] | None, typer.Argument(metavar="CLIP...", help="video or audio files")] = None,
    *,
    model: Annotated[Path, typer.Option(help="trained run: results/models/DATASET/METHOD/RUN")],
    text: Annotated[str | None, typer.Option(help="transcript of the clip; or a text alone, without a clip")] = None,
    table: Annotated[
        Path | None, typer.Option("--clips", help="table of clips, instead of files (columns id, path, text, ...)")
    ] = None,
    rates: Annotated[str, typer.Option(help="missing rates, separated by commas")] = "0.1,0.5,0.9",
    seed: Annotated[
        int,
        typer.Option(min=0, max=parameters.LARGEST_SEED, help="seed for drawing the missing parts, as corruption.seed"),
    ] = 1111,
    corrupt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SEVERITY",
            help="also predict the clip with its sound, pictures or words corrupted, such as white_noise=3; may be "
            "repeated (docs/media.md)",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N")] = "auto",
    accept_code: Annotated[
        bool, typer.Option("--accept-code", help="predict even if the code changed since the training")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document (docs/predict.md)")] = False,
) -> None:
    """Predict clips with a trained run.

    Each clip is predicted with all modalities, and with parts missing.
    """
    if (table is None) == (not clips and text is None):
        raise typer.BadParameter("give clips or --text, or give a table with --clips, but not both")
    if text is not None and len(clips or []) > 1:
        raise typer.BadParameter(
            "--text is for one clip; for several clips, give a table of paths and texts with --clips"
        )
    if not re.fullmatch(parameters.DEVICE, device):
        raise typer.BadParameter(f"--device is {device!r}; give auto, cpu, mps, cuda or cuda:N")
    try:
        listed = [float(rate) for rate in rates.split(",") if rate.strip()]
    except ValueError:
        listed = [-1.0]
    if not all(0 <= rate <= 1 for rate in listed) or len(set(listed)) < len(listed):
        raise typer.BadParameter(f"--rates is {rates!r}; give different numbers from 0 to 1, separated by commas")
    media = [_severity(text) for text in corrupt or []]
    from elision.datasets.clips import opened, unlabelled
    from elision.evaluation import ask

    trained = ask.Trained.open(model, device=device, accept_code=accept_code)
    found, problems = unlabelled(table) if table else opened(clips or [None], text)
    document = ask.ask(trained, found, problems, rates=listed, seed=seed, media=media)
    if as_json:
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        ask.show(document, Console())
    failed = [clip for clip in document["clips"] if clip["error"]]
    for clip in failed:
        print(f"elision: clip {clip['id']!r}: {clip['error']}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _severity(text: str) -> tuple[str, int]:
    """Read KIND=SEVERITY."""
    from elision.corruption import medium

    name, _, severity = text.partition("=")
    try:
        medium.known(name)
    except ValueError as error:
        raise typer.BadParameter(f"--corrupt: {error}") from None
    if severity not in map(str, range(1 + medium.SEVERITIES[-1])):
        raise typer.BadParameter(f"--corrupt is {text!r}; give a severity from 1 to 5, such as {name}=3")
    return name, int(severity)


@app.command("corrupt-media")
def corrupt_media(
    preview: Annotated[Path, typer.Option(metavar="CLIP", help="video or audio file to corrupt")],
    kind: KindName,
    severity: Annotated[int, typer.Option(min=0, max=5, help="0 (the clean clip), 1 (mild) to 5 (strong)")] = 3,
    *,
    out: Annotated[
        Path | None, typer.Option(help="file to write: .mp4, or .m4a for sound alone (default: CLIP.KIND-SEVERITY.mp4)")
    ] = None,
    text: Annotated[str | None, typer.Option(help="transcript of the clip, for kinds that corrupt words")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="option of the kind; may be repeated")
    ] = None,
    others: Annotated[
        list[Path] | None, typer.Option("--other", metavar="CLIP", help="other clip, for babble; may be repeated")
    ] = None,
    recogniser: Annotated[
        str | None, typer.Option(help="recognise the words of corrupted sound: pocketsphinx, or a Whisper")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=parameters.LARGEST_SEED, help="seed of the corruption, as corruption.seed")
    ] = 1111,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Write a corrupted clip, and print its measurements.

    docs/media.md describes the kinds.
    """
    from elision.corruption import medium
    from elision.datasets.clips import opened
    from elision.features.corrupted import Corruptor, defined
    from elision.features.preview import write

    try:
        made = medium.made(medium.known(kind), dict(map(_option, options or [])))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    clips, problems = opened([preview, *(others or [])], text)
    if problems:
        raise ElisionError("\n".join(problem for _, problem in problems))
    whole = {"audio": {"max_length": None}, "vision": {"max_length": None}, "text": {"max_length": 1000}}
    corruptor = Corruptor(clips, parameters.Features.model_validate(whole), seed=seed, recogniser=recogniser)
    row = next(clips.itertuples())
    out = out or preview.with_name(f"{preview.stem}.{kind}-{severity}.{'mp4' if row.has_vision else 'm4a'}").name
    measured, clean = write(corruptor, row, made, severity, Path(out))
    fact = medium.facts(kind)
    if as_json:
        found = {"clip": str(preview), "kind": kind, "severity": severity, "level": fact.level_name(severity)}
        print(json.dumps({**found, "file": str(out), "measured": defined(measured), "clean": defined(clean)}, indent=1))
        return
    at = "" if not severity else f" ({fact.level}: {fact.level_name(severity)})"
    print(f"{out}: {preview.name}, {fact.words}, severity {severity}{at}")
    for name, value in measured.items():
        if name != "text":
            before = f" (clean: {round(clean[name], 3) + 0:g})" if name in clean else ""
            what = {**medium.MEASURED["words"], **fact.all_measured}.get(name, name)
            print(f"  {what}: {round(value, 3) + 0:g}{before}")  # + 0: no -0
    if "text" in measured:
        print(f"  words: {measured['text']}")


def _option(text: str) -> tuple[str, object]:
    """Read KEY=VALUE, the value as in a params file."""
    from elision.settings import strict_yaml

    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ValueError(f"--option is {text!r}; write KEY=VALUE, such as voices=3")
    return key, strict_yaml.parse(value, f"--option {key}")


@app.command()
def check(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="METHOD|RUN...",
            help="method, or folder of a trained run: results/models/DATASET/METHOD/RUN (default: all methods)",
        ),
    ] = None,
    *,
    accept_code: Annotated[
        bool, typer.Option("--accept-code", help="check a run even if the code changed since the training")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document (docs/checks.md)")] = False,
) -> None:
    """Find faults of methods and runs that scores do not show.

    docs/checks.md describes the checks. The exit code is 1 if a check fails.
    """
    from elision.methods import load
    from elision.progress import track

    names = parameters.method_names()
    found: list[tuple[str, Path | None]] = []
    for word in what or names:
        path = Path(word)
        if word not in names and path.suffix == ".py":
            if path.stem not in names:
                raise ElisionError(f"{word} is not in the folder workflow/elision/methods; move the file there")
            word = path.stem
        if word in names:
            load(word)
        elif not path.is_dir():
            raise ElisionError(
                f"{word!r} is neither a method nor the folder of a trained run; {parameters.suggestion(word, names)}"
            )
        found.append((word, None if word in names else path))
    from elision.evaluation import examine
    from elision.training.record import Record

    for _, path in found:
        if path:
            Record.read(path)  # before the first check
    documents = [
        examine.of_run(path, accept_code=accept_code) if path else examine.of_method(word)
        for word, path in track(found, "check")
    ]
    if as_json:
        print(json.dumps(documents, indent=1, allow_nan=False))
    else:
        examine.show(documents, Console())
    if not all(document["passed"] for document in documents):
        raise typer.Exit(1)


@app.command()
def headline(params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Print the main table and the address of the report."""
    from elision.report import headline as table_of

    opened = Workspace(params, results)
    metrics, found = opened.table("metrics", opened.recipes.aggregate)
    print(table_of(metrics, opened.marks(found.get("made_with", {}))))
    print(f"\nreport: {(opened.layout.root / 'report.html').resolve().as_uri()}")
    if told := kept.notice(opened.layout):
        print(f"\n{told}")


@params_app.command("schema")
def params_schema() -> None:
    """Print the JSON schema of params.yaml.

    An editor uses the schema to check params.yaml and to complete keys. To save the
    schema: elision params schema > params.schema.json
    """
    from elision.settings.schema import schema

    print(json.dumps(schema(), indent=2))


@params_app.command("check")
def params_check(params: ParamsFile = PARAMS) -> None:
    """Check params.yaml, including the hyperparameters of methods."""
    from elision.methods import check as check_methods
    from elision.methods import load_all

    check_methods(parameters.load(params))
    for problem in load_all()[1].values():
        print(f"elision: {params} does not use this broken method: {problem}", file=sys.stderr)


@params_app.command("show")
def params_show(
    method: Annotated[str, typer.Argument(help="a name under methods: in params.yaml, or the name of any method")],
    dataset: Dataset,
    run: Annotated[str, typer.Option(help="run id, for tuned values of one fold (default: the first run)")] = "",
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Print the hyperparameters of a method on a dataset.

    The table shows the source of each value.
    """
    from elision.methods import resolve_variant, search_space

    opened = Workspace(params, results)
    settings = opened.params
    known(dataset, list(settings.datasets), "dataset")
    variants = {name: settings.teacher(name) for name in parameters.method_names()} | settings.variants
    variant = variants[known(method, list(variants), "method")]
    run = known(run, settings.runs(dataset), "run") if run else settings.runs(dataset)[0]
    hyperparameters, origins = resolve_variant(settings, variant, dataset)
    title = f"{variant.name} on {dataset}"
    if method in settings.tuned:
        title += f" ({run})" if settings.datasets[dataset].folds else ""
        if opened.layout.trials(dataset, method, settings.tuning_run(dataset, run)).exists():
            values = opened.winners(dataset, [method], run)[method]["values"]
            changed = settings.with_values({method: values})
            hyperparameters, _ = resolve_variant(changed, changed.trained[method], dataset)
            origins |= dict.fromkeys(values, "tuned")
        else:
            space = search_space(settings, method, dataset)
            origins |= {name: f"{origins[name]}; to be tuned: {_span(found)}" for name, found in space.items()}
    table = Table("hyperparameter", "value", "from", "meaning", title=title)
    for name, field in type(hyperparameters).model_fields.items():
        table.add_row(name, str(getattr(hyperparameters, name)), origins[name], field.description or "")
    Console().print(table)


def _span(found: "Searched") -> str:
    """Print what tuning searches."""
    return " or ".join(map(str, found)) if isinstance(found, list) else str(found)


@app.command()
def methods(
    name: Annotated[str, typer.Argument(help="method to describe (default: list all methods)")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print names and parameter counts as JSON")] = False,
    dataset_dims: Annotated[
        str, typer.Option(help=f"sizes for --json: {', '.join(OFFICIAL_SPECS)} (default: mosi)", show_default=False)
    ] = "",
) -> None:
    """List the methods, or describe one with hyperparameters."""
    if as_json:
        from elision.methods import counts

        if name:
            raise typer.BadParameter(f"--json counts the parameters of all methods; leave out {name}")
        corpora = list(OFFICIAL_SPECS)
        if dataset_dims and dataset_dims not in corpora:
            raise typer.BadParameter(
                f"--dataset-dims: unknown {dataset_dims!r}; {parameters.suggestion(dataset_dims, corpora)}"
            )
        print(json.dumps(counts(dataset_dims or "mosi"), indent=1))
        return
    if dataset_dims:
        raise typer.BadParameter("--dataset-dims is for --json; add --json, or leave out --dataset-dims")
    from elision.settings import catalogue

    if name:
        print(catalogue.card(name))
    else:
        Console().print(catalogue.listing())


@app.command()
def protocols(
    name: Annotated[str, typer.Argument(help="protocol to describe: a name or the path of a file")] = "",
) -> None:
    """List the protocols and their settings, or describe one."""
    from elision.settings.protocols import described, names

    print("\n\n".join(map(described, [name] if name else names())))


@app.command()
def doctor(params: ParamsFile = PARAMS) -> None:
    """Report missing software and hardware.

    The table says what does not work without each missing item. The exit code is 1
    if an item is missing that all work needs.
    """
    from elision.cli.doctor import examine

    if params != PARAMS or params.exists():
        settings = parameters.load(params)
        train = settings.train
        findings = examine(
            settings.features.text.encoder, device=train.device, jobs_per_gpu=train.jobs_per_gpu, compiled=train.compile
        )
    else:
        findings = examine("minilm")
    table = Table("", "item", "found, or what does not work")
    for finding in findings:
        sign = "ok" if finding.found else "MISSING" if finding.needed else "absent"
        table.add_row(sign, finding.name, finding.found or f"does not work: {finding.prevents}")
    Console().print(table)
    if any(finding.needed and not finding.found for finding in findings):
        raise typer.Exit(1)


@app.command()
def adopt(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ARGUMENTS...", help="arguments for Snakemake, for example --use-conda"),
    ] = None,
    *,
    accept_code: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP", help="keep the results that older code of this step made: train, evaluate, ... or all"
        ),
    ] = None,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Register existing results as up to date.

    Run this after an interruption, after `dvc pull`, or after a copy of results. The
    workflow then does not make these results again.
    """
    from elision.provenance.adopt import accept
    from elision.provenance.adopt import adopt as run_adopt

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
    if not layout.root.exists():
        print(f"{layout.root} does not exist yet; there is nothing to register")
    if accept_code:
        accept(settings, layout, [step for steps in accept_code for step in steps.split(",")])
    run_adopt(settings, layout, arguments or [], file=params)


@app.command()
def clean(
    unused: Annotated[
        bool, typer.Option("--unused", help="delete the work that the command lists without this option")
    ] = False,
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """List or delete finished work that no params ask for."""
    layout = Workspace(params, results).layout
    if not layout.root.exists():
        raise ElisionError(f"{layout.root} does not exist; give the folder of the results, or run the workflow first")
    told = kept.unused(layout)
    if unused and told:
        kept.clean(layout)
        print(f"deleted {layout.unused}: {told}")
    else:
        print(kept.notice(layout) or f"{layout.root}: no unused work; the params ask for all results")


@app.command()
def profile(
    results: Annotated[Path, typer.Argument(help="folder of the results of a workflow")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Print where the time of a workflow went.

    The table has a row per rule. Times are wall-clock times of the jobs.
    """
    from dataclasses import asdict

    from elision.cli.profile import profile as profile_of

    found = profile_of(Layout(results))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    table = Table("rule", *(Column(name, justify="right") for name in ("jobs", "seconds", "share", "longest", "MB")))
    table.add_column("longest job")
    for row in found.rows:
        share, memory = f"{row.seconds / found.seconds:.0%}", "" if row.memory is None else f"{row.memory:.0f}"
        table.add_row(row.rule, str(row.jobs), f"{row.seconds:.1f}", share, f"{row.longest:.1f}", memory, row.slowest)
    Console().print(table)
    print(f"All jobs: {found.seconds:.0f} s. The workflow took {found.span:.0f} s, without breaks.")
    print(f"On average, {found.seconds / found.span:.1f} jobs ran at once.")
    print(f"Finished runs spent {found.epochs:.0f} s in epochs. The rest of `train` is start, loading and saving.")


@app.command()
def plan(
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Print what the workflow would run, as a table.

    The table has a row per rule. The times come from former jobs of these results.
    """
    from dataclasses import asdict

    from elision.cli.plan import plan as plan_of

    found = plan_of(Workspace(params, results).layout, params)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    table = Table("rule", *(Column(name, justify="right") for name in ("jobs", "missing", "estimated time")))
    for row in found.rows:
        table.add_row(row.rule, str(row.jobs), str(row.missing or ""), _time(row.seconds, row.missing, row.unknown))
    Console().print(table)
    if not found.missing:
        print(f"Nothing to do: {plural(found.jobs, 'job')} {'is' if found.jobs == 1 else 'are'} up to date.")
        return
    time = _time(found.seconds, found.missing, found.unknown)
    print(f"{found.missing} of {plural(found.jobs, 'job')} would run. Estimated time, one after the other: {time}.")
    if found.seconds and found.at_once > 1.05:
        print(
            f"Former jobs ran {found.at_once:.1f} at a time. At this rate, the jobs take "
            f"{_duration(found.seconds / found.at_once)}."
        )
    if found.unknown:
        print(f"No former job tells the time of {plural(found.unknown, 'job')}.")


def _duration(seconds: float) -> str:
    """Print a time in its own unit."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _time(seconds: float, missing: int, unknown: int) -> str:
    """Print an estimate; what it leaves out is unknown."""
    if not missing:
        return ""
    if not seconds:
        return "unknown" if unknown else "a moment"
    return f"{_duration(seconds)}{' and more' if unknown else ''}"


@app.command("import-data")
def import_data(
    path: Annotated[Path, typer.Argument(help="folder of clips or features, or one feature file")],
    name: Annotated[str, typer.Option(help="name of the dataset (default: name of the folder)")] = "",
    settings: Annotated[
        str,
        typer.Option(
            help="more settings of the dataset in YAML, for example 'corpus: sims'; paths are relative to the folder"
        ),
    ] = "",
) -> None:
    """Check your own data and copy the data into data/.

    DVC then tracks the copy. The command prints what to type next.
    """
    from elision.cli.importing import import_data as run_import
    from elision.settings import strict_yaml

    given = strict_yaml.parse(settings, "--settings") or {}
    if not isinstance(given, dict):
        raise ElisionError(
            f"--settings: {settings!r} is not a mapping; give keys and values, for example 'corpus: sims'"
        )
    print(run_import(path, name or (path.stem if path.is_file() else path.resolve().name), given), end="")


@app.command()
def fetch(
    model: Annotated[
        str, typer.Argument(help="id of a model on the Hugging Face hub, such as facebook/hubert-base-ls960; or pyfeat")
    ],
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag of the model (default: main)")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="folder for the download, which you can copy to other machines (default: the cache of Hugging Face; "
            f"for pyfeat {PYFEAT_WEIGHTS})"
        ),
    ] = None,
) -> None:
    """Download the weights of a model.

    Extraction then needs no network (docs/features.md, docs/pyfeat.md).
    """
    if model == "pyfeat":
        from elision.features import pyfeat

        if revision:
            raise ElisionError("--revision: the weights of pyfeat have no choice of revisions; leave out --revision")
        pyfeat.fetch(folder or PYFEAT_WEIGHTS)
        return
    from elision.features import hf

    place, commit = hf.fetch(model, revision=revision, folder=folder)
    print(f"{model}: {place}, licence: {hf.licence(place)}")
    pinned = f"model: {place}" if folder else f"model: {model}, revision: {commit}"
    print(f"In params.yaml, for example: features: {{audio: {{extractor: hf, {pinned}}}}}")


@export_app.command("mmsa")
def export_mmsa(
    dataset: Dataset,
    file: Annotated[Path, typer.Argument(help="file to write (.pkl)")],
    params: ParamsFile = PARAMS,
    results: Results = RESULTS,
) -> None:
    """Write a dataset as a feature file in the format of MMSA."""
    from elision.datasets.mmsa import export

    opened = Workspace(params, results)
    if not file.parent.is_dir() or file.is_dir():
        wrong = f"{file} is a folder" if file.is_dir() else f"{file.parent} is not a folder"
        raise ElisionError(f"{wrong}; give the path of a file in an existing folder")
    store = opened.store(dataset)
    if parameters.encoded(opened.params, dataset):
        store = opened.with_vectors(dataset, store)
    export(opened.layout.store(dataset), file, vectors=store.modalities.get("text_features"))


@published_app.command("check")
def published_check(
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Find impossible numbers in published tables.

    The exit code is 1 if the findings differ from the list of known errata.
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
        table = Table("check", "where", "metric", "reason")
        for finding in found:
            where = f"{finding.source} {finding.table}, {finding.method}, {finding.dataset}, {finding.corruption}"
            table.add_row(finding.check, f"{where} {finding.level}".rstrip(), finding.metric, finding.why)
        Console().print(table)
        told = int((errata()["check"] == "").sum())
        expected = f"{len(found) - len(new)} of {len(found)} findings are known errata"
        print(f"{expected}. Authors reported {told} more errata, which arithmetic cannot find")
    for finding in new:
        print(f"not in the list of known errata: {finding}", file=sys.stderr)
    for finding in lost:
        print(f"known erratum that the check did not find: {finding}", file=sys.stderr)
    if new or lost:
        raise typer.Exit(1)
