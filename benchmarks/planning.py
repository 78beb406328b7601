"""Time and memory that Snakemake takes to plan, against a bare Snakefile of the same shape.

Datasets are the demo with classes and folds, methods are variants of ``text_only``; nothing is run. The bare Snakefile
has the same jobs with the same numbers of files, and neither params to check nor recipes. ``new``: nothing is there.
``done``: everything is, as empty files that Snakemake has touched, so that it compares times, params and inputs of all
and finds nothing to do. Prints a line per size: seconds of the processor (planning takes one core), peak memory, and
the ratio to bare Snakemake. Run: python benchmarks/planning.py [--sizes 100 1000 10000] [--new]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
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


def snakemake(snakefile: Path, folder: Path, *arguments: str) -> tuple[str, float, float]:
    """Return what it prints, processor seconds, and peak memory in MiB."""
    profile = REPOSITORY / "workflow" / "profiles" / "default"
    command = [sys.executable, "-m", "snakemake", "-s", snakefile, "--workflow-profile", profile, "--cores", "1"]
    # Nothing was made here by a run: the files of ``done`` are not to be refused.
    command += [*arguments, "--config", "adopt=1"]
    with tempfile.TemporaryFile("w+") as said:
        started = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if started.returncode:
        sys.exit(text[-3000:])
    return text, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**10


def touch(snakefile: Path, folder: Path) -> None:
    """Make every output an empty file that Snakemake takes for the result of its job."""
    summary, _, _ = snakemake(snakefile, folder, "--summary")
    for line in summary.splitlines():
        name = line.split("\t")[0]
        if name.startswith("results/") and "/shards/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    snakemake(snakefile, folder, "--touch", "--forceall", "--notemp", "--quiet", "all")


def measure(snakefile: Path, folder: Path, *, done: bool) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the number of jobs, and processor seconds and peak memory in MiB of planning."""
    text, *new = snakemake(snakefile, folder, "-n", "--quiet", "rules")
    jobs, figures = int(re.search(r"^total +(\d+)$", text, re.MULTILINE).group(1)), {"new": tuple(new)}
    if done:
        touch(snakefile, folder)
        text, *nothing = snakemake(snakefile, folder, "-n", "--quiet", "rules")
        assert "Nothing to be done" in text, text[-3000:]
        figures["done"] = tuple(nothing)
    return jobs, figures


def main() -> None:
    """Print a line per size and state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--new", action="store_true", help="leave out the state done")
    arguments = parser.parse_args()
    print(f"{'jobs':>6}  {'state':5} {'seconds':>8} {'MiB':>6} {'bare: seconds':>14} {'MiB':>6} {'ratio':>6}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            ours, plain = Path(scratch, "ours"), Path(scratch, "plain")
            for folder in (ours, plain):
                folder.mkdir()
            (ours / "params.yaml").write_text(yaml.safe_dump(params(*SHAPES[size])))
            (plain / "Snakefile").write_text(bare(SHAPES[size]))
            jobs, figures = measure(REPOSITORY / "Snakefile", ours, done=not arguments.new)
            same, others = measure(plain / "Snakefile", plain, done=not arguments.new)
            assert jobs == same, f"the bare Snakefile has {same} jobs, not {jobs}"
            for state, (seconds, memory) in figures.items():
                than, less = others[state]
                columns = f"{seconds:8.1f} {memory:6.0f} {than:14.1f} {less:6.0f} {seconds / than:6.1f}"
                print(f"{jobs:6}  {state:5} {columns}", flush=True)


if __name__ == "__main__":
    main()
