"""Time and memory that Snakemake takes to plan, against a bare Snakefile of the same shape.

Datasets are the demo with classes and folds, methods are variants of ``text_only``; nothing is run. The bare Snakefile
has the same jobs with the same numbers of files, and neither params to check nor recipes. ``new``: nothing is there.
``done``: everything is, as files that hold a recipe and nothing else, so that Snakemake compares times, params and
inputs of all and finds nothing to do. The other commands have nothing to do, either. Prints a line per size: seconds of
the processor (planning takes one core), peak memory, and the ratio to bare Snakemake; first those of a Snakefile of one
rule. Run: python benchmarks/planning.py [--sizes 100 1000 10000] [--new]
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parent.parent
# Methods, datasets, seeds, folds.
SHAPES = {100: (5, 1, 2, 4), 1000: (10, 2, 5, 5), 10000: (20, 4, 5, 10)}

BARE = """
METHODS, DATASETS, SEEDS, FOLDS = {shape}
D = [f"demo-{{i}}" for i in range(DATASETS)]
M = [f"text-{{i}}" for i in range(METHODS)]
R = [f"seed-{{s}}.fold-{{f}}" for s in range(1, SEEDS + 1) for f in range(1, FOLDS + 1)]
CLIPS, SAMPLES = "results/datasets/{{dataset}}/clips.parquet", "results/datasets/{{dataset}}/samples.parquet"
ALIGNMENT = "results/datasets/{{dataset}}/alignment.safetensors"
SEQUENCES = "results/datasets/{{dataset}}/{{modality}}.safetensors"
SHARD = "results/datasets/{{dataset}}/shards/{{modality}}.{{shard}}.safetensors"
CORRUPTIONS = ["results/corruptions/{{dataset}}.safetensors", "results/corruptions/{{dataset}}.json"]
MODEL = ["results/models/{{dataset}}/{{method}}/{{run}}/" + n for n in ("model.safetensors", "history.csv", "run.json")]
PREDICTIONS = "results/predictions/{{dataset}}/{{method}}/{{run}}.parquet"
REPRESENTATIONS = "results/representations/{{dataset}}/{{method}}/{{run}}.safetensors"
FILES = {{
    "datasets": expand([CLIPS, SAMPLES, ALIGNMENT], dataset=D)
    + expand(SEQUENCES, dataset=D, modality=["text", "audio", "vision"]),
    "corruptions": expand(CORRUPTIONS, dataset=D),
    "models": expand(MODEL, dataset=D, method=M, run=R),
    "predictions": expand(PREDICTIONS, dataset=D, method=M, run=R),
    "representations": expand(REPRESENTATIONS, dataset=D, method=M, run=R[0]),
}}
TABLES = ["results/metrics.parquet", "results/confusions.parquet", "results/intervals.parquet"]

wildcard_constraints:
    dataset="|".join(D), method="|".join(M), run="|".join(map(re.escape, R)),
    modality="text|audio|vision", shard="[0-9]+"

ruleorder: evaluate_first > evaluate

rule all:
    input: "results/report.html", [f"results/{{stage}}/MANIFEST" for stage in FILES]
"""
RULE = """
rule {name}:
    input: {input}
    output: {output}
    log: "results/logs/{name}{key}.log"
    benchmark: "results/benchmarks/{name}{key}.tsv"
    resources: mem_mb=8000, runtime=60
    params: recipe="{name}{key}"
    shell: "python -m elision {name} --recipe {{params.recipe}} > {{log}} 2>&1"
"""
# Rule: input, output, wildcards.
RULES = {
    "prepare": ("", "CLIPS", "dataset"),
    "extract": ("CLIPS", "temp(SHARD)", "dataset modality shard"),
    "merge": (
        'CLIPS, [SHARD.replace("{shard}", str(s)) for s in range(4)]',
        "SEQUENCES",
        "dataset modality",
    ),
    "assemble": (
        'CLIPS, [SEQUENCES.replace("{modality}", m) for m in ("text", "audio", "vision")]',
        "SAMPLES",
        "dataset",
    ),
    "align": ("SAMPLES", "ALIGNMENT", "dataset"),
    "corrupt": ("SAMPLES", "CORRUPTIONS", "dataset"),
    "train": ("SAMPLES, ALIGNMENT", "MODEL", "dataset method run"),
    "evaluate": ("MODEL, CORRUPTIONS, SAMPLES, ALIGNMENT", "PREDICTIONS", "dataset method run"),
    "evaluate_first": (
        '[m.replace("{run}", R[0]) for m in MODEL], CORRUPTIONS, SAMPLES, ALIGNMENT',
        '[f.replace("{run}", R[0]) for f in (PREDICTIONS, REPRESENTATIONS)]',
        "dataset method",
    ),
    "aggregate": ('FILES["predictions"]', "TABLES[:2]", ""),
    "significance": ('FILES["predictions"], expand(SAMPLES, dataset=D)', "TABLES[2:]", ""),
    "report": (
        'TABLES, [f for f in FILES["models"] if not f.endswith(".safetensors")], FILES["representations"]',
        '"results/report.html"',
        "",
    ),
    **{
        stage: (f'FILES["{stage}"]', f'"results/{stage}/MANIFEST"', "")
        for stage in ("datasets", "corruptions", "models", "predictions", "representations")
    },
}


def params(methods: int, datasets: int, seeds: int, folds: int) -> dict:
    """Return params that ask for so many methods, datasets, seeds and folds."""
    dataset = {
        "source": "demo",
        "task": "classification",
        "classes": ["negative", "neutral", "positive"],
        "cuts": [-1.0, 1.0],
        "folds": {"by": "speaker", "count": folds},
        "speakers": folds + 2,
    }
    return {
        "results": "results",
        "datasets": {f"demo-{number}": dataset for number in range(datasets)},
        "methods": [{f"text-{number}": {"method": "text_only", "epochs": number + 1}} for number in range(methods)],
        "seeds": list(range(1, seeds + 1)),
    }


def bare(shape: tuple[int, int, int, int]) -> str:
    """Return a Snakefile with the same jobs."""
    text = BARE.format(shape=shape)
    for name, (given, made, wildcards) in RULES.items():
        key = "".join(f".{{{wildcard}}}" for wildcard in wildcards.split())
        text += RULE.format(name=name, input=given or "[]", output=made, key=key)
    return text


def run(folder: Path, *command: str) -> tuple[str, float, float]:
    """Return what a command prints, processor seconds, and peak memory in MiB."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow"), "DVC_NO_ANALYTICS": "true"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    with tempfile.TemporaryFile("w+") as said:
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if started.returncode:
        sys.exit(f"{' '.join(command)}: exit code {started.returncode}\n{text[-3000:]}")
    return text, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**10


def python(folder: Path, module: str, *arguments: str) -> tuple[str, float, float]:
    """Run a module of Python as `run` does."""
    return run(folder, sys.executable, "-m", module, *arguments)


def plan(folder: Path, *arguments: str) -> tuple[str, float, float]:
    """Plan without running anything."""
    return python(folder, "snakemake", "--cores", "1", "-n", "--quiet", "rules", *arguments)


def touch(folder: Path) -> None:
    """Make every output an empty file."""
    summary, _, _ = python(folder, "snakemake", "--cores", "1", "--summary")
    for line in summary.splitlines():
        name = line.split("\t")[0]
        if name.startswith("results/") and "/shards/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def mark(folder: Path) -> None:
    """Tell Snakemake that every output is the result of its job."""
    python(folder, "snakemake", "--cores", "1", "--touch", "--forceall", "--notemp", "--quiet", "all")


def fill(folder: Path) -> None:
    """Write the recipe that the params ask for into each artifact, as the jobs do, and nothing else."""
    import pandas as pd

    from elision.provenance import adopt, manifest
    from elision.provenance.layout import STAGES, Layout
    from elision.provenance.recipe import digest
    from elision.settings import params as parameters
    from elision.store import write_table, write_tensors

    with contextlib.chdir(folder):
        params = parameters.load("params.yaml")
        layout, made_from = Layout(Path(params.results)), dict.fromkeys(("clips", "data", "weights"), "0")
        together = digest(dict.fromkeys(params.datasets, "0"))
        for path, recipe in adopt._Inventory(params, layout, thorough=False).looked_at:
            provenance = {**recipe, **made_from, **({"data": together} if path.parent == layout.root else {})}
            if path.suffix == ".parquet":
                write_table(path, pd.DataFrame(), provenance)
            elif path.suffix == ".safetensors":
                write_tensors(path, {}, provenance)
            elif path.suffix == ".json":
                path.write_text(json.dumps({"provenance": provenance, "weights": "0"}))
            else:
                path.write_text(f'<meta name="provenance" content="{recipe["identity"]} {together}">')
        for stage in STAGES:
            manifest.collect(layout, stage, sorted(layout.stage(stage, params)), folders=[])


def clone(folder: Path, settings: dict) -> None:
    """Copy the project, with other params, into a repository of its own."""
    listed, _, _ = run(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    for arguments in ("init -q", "add -A", "-c user.name=benchmark -c user.email=benchmark@localhost commit -qm start"):
        run(folder, "git", *arguments.split())


def measure(folder: Path, *, done: bool, finish: Callable[[Path], None]) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the number of jobs, and processor seconds and peak memory in MiB of planning.

    ``finish`` makes every file that the jobs would make.
    """
    text, *new = plan(folder)
    jobs, figures = int(re.search(r"^total +(\d+)$", text, re.MULTILINE).group(1)), {"new": tuple(new)}
    if done:
        touch(folder)
        finish(folder)
        text, *nothing = plan(folder)
        assert "Nothing to be done" in text, text[-3000:]
        figures["done"] = tuple(nothing)
    return jobs, figures


def adopted(folder: Path) -> None:
    """Finish the project: its own verb tells Snakemake what is there."""
    # Not in this process: what it imports would count as memory of the commands that it starts.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        process.submit(fill, folder).result()
    python(folder, "elision", "adopt")


def others(folder: Path) -> dict[str, tuple[float, float]]:
    """Return processor seconds and peak memory in MiB of the other commands, where there is nothing to do."""
    text, *found = python(folder, "elision", "adopt")
    assert text == "", text
    python(folder, "dvc", "repro", "--quiet")
    text, *repeated = python(folder, "dvc", "repro")
    assert text.count("didn't change, skipping") == 5, text
    return {"elision adopt": tuple(found), "dvc repro": tuple(repeated)}


def main() -> None:
    """Print a line per size and state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--new", action="store_true", help="leave out what is measured when everything is there")
    arguments = parser.parse_args()
    print(f"{'jobs':>6}  {'':13} {'seconds':>8} {'MiB':>6} {'bare: seconds':>14} {'MiB':>6} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as scratch:  # what no Snakefile can do without
        Path(scratch, "Snakefile").write_text('rule all:\n    input: "Snakefile"\n')
        _, seconds, memory = plan(Path(scratch))
        print(f"{1:6}  {'':13} {'':8} {'':6} {seconds:14.1f} {memory:6.0f}", flush=True)
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            ours, plain = Path(scratch, "ours"), Path(scratch, "plain")
            for folder in (ours, plain):
                folder.mkdir()
            clone(ours, params(*SHAPES[size]))
            (plain / "Snakefile").write_text(bare(SHAPES[size]))
            jobs, figures = measure(ours, done=not arguments.new, finish=adopted)
            same, than = measure(plain, done=not arguments.new, finish=mark)
            assert jobs == same, f"the bare Snakefile has {same} jobs, not {jobs}"
            figures |= {} if arguments.new else others(ours)
            for state, (seconds, memory) in figures.items():
                columns = f"{jobs:6}  {state:13} {seconds:8.1f} {memory:6.0f}"
                if state in than:
                    columns += f" {than[state][0]:14.1f} {than[state][1]:6.0f} {seconds / than[state][0]:6.1f}"
                print(columns, flush=True)


if __name__ == "__main__":
    main()
