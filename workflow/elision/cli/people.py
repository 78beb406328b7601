"""The verbs that people type: what is here, what came out, and what a trained run says of clips."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from elision.cli.opened import PARAMS, RESULTS, Dataset, ParamsFile, Results, Workspace, known
from elision.errors import ElisionError
from elision.provenance import kept
from elision.provenance.contents import PYFEAT_WEIGHTS
from elision.settings import params as parameters
from elision.task import OFFICIAL_SPECS

app = typer.Typer()
params_app = typer.Typer(suggest_commands=False, help="Check or show params.yaml.")
fetch_app = typer.Typer(suggest_commands=False, help="Download model weights for machines without a network.")
export_app = typer.Typer(suggest_commands=False, help="Write a dataset in the format of another tool.")
published_app = typer.Typer(suggest_commands=False, help="Check published numbers.")
app.add_typer(params_app, name="params")
app.add_typer(fetch_app, name="fetch")
app.add_typer(export_app, name="export")
app.add_typer(published_app, name="published")


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
def headline(params: ParamsFile = PARAMS, results: Results = RESULTS) -> None:
    """Print the main table and where the report is."""
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
    known(dataset, list(settings.datasets), "dataset")
    variants = {name: settings.teacher(name) for name in parameters.method_names()} | settings.variants
    variant = variants[known(method, list(variants), "method")]
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
        corpora = list(OFFICIAL_SPECS)
        if dataset_dims and dataset_dims not in corpora:
            raise typer.BadParameter(
                f"--dataset-dims: unknown {dataset_dims!r}; {parameters.suggestion(dataset_dims, corpora)}"
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
def protocols(
    name: Annotated[str, typer.Argument(help="a protocol to describe: a name, or the path of a file")] = "",
) -> None:
    """List the protocols with what they set, or describe one."""
    from elision.settings.protocols import described, names

    print("\n\n".join(map(described, [name] if name else names())))


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

    opened = Workspace(params, results)
    settings, layout = opened.params, opened.layout
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
    layout = Workspace(params, results).layout
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

    opened = Workspace(params, results)
    if not file.parent.is_dir() or file.is_dir():
        wrong = f"{file}: is a folder" if file.is_dir() else f"{file.parent}: no such folder"
        raise ElisionError(f"{wrong}; give a file in a folder that exists")
    opened.store(dataset)
    export(opened.layout.store(dataset), file)


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
        expected = f"{len(found) - len(new)} of {len(found)} findings are known errata"
        print(f"{expected}; {told} more errata no arithmetic finds: authors gave them")
    for finding in new:
        print(f"no known erratum: {finding}", file=sys.stderr)
    for finding in lost:
        print(f"known erratum that was not found: {finding}", file=sys.stderr)
    if new or lost:
        raise typer.Exit(1)
