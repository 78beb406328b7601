"""Seconds and memory of every stage on a generated corpus of CMU-MOSEI's sizes, and how both grow.

The corpus is a feature file in the layout of MMSA: 74 audio and 35 vision values in each frame, padded to 500 frames,
and token ids, padded to 50. Durations are log-normal with CMU-MOSEI's mean of 7.28 s; there are 20 audio frames, 15
vision frames and 2.6 words in a second. The text encoder has one layer of 32 dimensions and random weights, so that an
epoch is soon over. Predictions of further methods and seeds are those of a trained run with noise.

The first table has a row for each stage and size. ``above start`` is the peak memory less that of the same stage on
200 utterances. ``tensors`` are the bytes that the stage cannot do without: its part of the corpus, or the predictions
and resampled metrics of all runs; stages that hold one table at a time have none. The second table has the growth of
the seconds that a stage takes beyond those to start, over the growth of utterances, or of methods: 1 is as fast.
``--expect`` measures steps of all methods with MiniLM instead, at the sizes of MOSI, MOSEI and SIMS, and adds them up.

Run: python benchmarks/scale.py [--utterances 1000 5000 22856] [--methods 5 40] [--folder FOLDER], or
python benchmarks/scale.py --expect [METHOD ...] [--device cuda]
"""

import argparse
import copy
import json
import math
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from elision.task import MODALITIES, OFFICIAL_SPECS, SPLITS, DataSpec

if TYPE_CHECKING:
    from elision.methods.base import TrainingHyperparameters
    from elision.methods.layers.text_encoder import TextEncoder

THIS = Path(__file__).resolve()
SPLIT_SIZES = {"mosi": (1284, 229, 686), "mosei": (16326, 1871, 4659), "sims": (1368, 456, 457)}
SEEDS = (1111, 1112, 1113)
TRAINED = ("tfn", "text_only", "self_mm", "misa")
MOST_MEMORY = 7 << 30  # bytes that a step on a CPU may fill: one of a large batch may need those of the whole machine
SMALLEST = 200  # utterances, for what a stage needs to start
RATES = {"audio": (74, 20.0), "vision": (35, 15.0)}
SECONDS, SPREAD, WORDS = 7.28, 0.6, 2.6
TOKENS, FRAMES = 50, 500
VOCABULARY = 30522


# --- the corpus


def sizes(utterances: int) -> dict[str, int]:
    """Return the utterances of each split, in CMU-MOSEI's proportions."""
    whole = SPLIT_SIZES["mosei"]
    valid, test = (max(8, round(utterances * part / sum(whole))) for part in whole[1:])
    return dict(zip(SPLITS, (utterances - valid - test, valid, test), strict=True))


def generate(folder: Path, size: str) -> None:
    """Write a feature file, of which only pages that can be written out are in memory, and a text encoder."""
    write_encoder(folder / "encoder")
    random, content, first = np.random.default_rng(1111), {}, 0
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for split, count in sizes(int(size)).items():
            duration = random.lognormal(math.log(SECONDS) - SPREAD**2 / 2, SPREAD, count)
            label = random.normal(0, 1.2, count).clip(-3, 3).astype(np.float32)
            tokens = (2 + WORDS * duration).astype(int).clip(3, TOKENS)
            ids = random.integers(1000, VOCABULARY, (count, TOKENS))
            within = np.arange(TOKENS) < tokens[:, None]
            ids[:, 0], ids[np.arange(count), tokens - 1] = 101, 102
            names = [f"video{(first + row) // 7}$_${(first + row) % 7}" for row in range(count)]
            part = {"id": names, "raw_text": ["words"] * count, "regression_labels": label}
            part["text_bert"] = np.stack([ids * within, within, 0 * ids], 1).astype(np.float32)
            for modality, (width, rate) in RATES.items():
                lengths = (rate * duration).astype(int).clip(1, FRAMES)
                path = Path(scratch, f"{split}.{modality}")
                padded = np.memmap(path, np.float32, "w+", shape=(count, FRAMES, width))
                for row in range(count):
                    values = random.standard_normal((lengths[row], width), np.float32)
                    padded[row, : lengths[row]] = values + label[row] / 3
                padded.flush()
                del padded
                # Read-only memory is written as it lies there.
                part[modality] = np.asarray(np.memmap(path, np.float32, "r", shape=(count, FRAMES, width)))
                part[f"{modality}_lengths"] = lengths.tolist()
            content[split], first = part, first + count
        with (folder / "mosei.pkl").open("wb") as opened:
            pickle.dump(content, opened, protocol=5)


def write_encoder(folder: Path) -> None:
    """Write a text encoder with random weights."""
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()

    torch.manual_seed(0)
    sizes_of = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=VOCABULARY, **sizes_of)).save_pretrained(folder)


def write_params(folder: Path, trained: list[str], count: int) -> Path:
    """Write params that ask for some methods; of those that are not trained, predictions are made up."""
    made_up = [{f"made-up-{number:02d}": {"method": "text_only"}} for number in range(count - len(trained))]
    content = {
        "results": str(folder / "results"),
        "datasets": {
            "mosei": {
                "source": "mmsa",
                "file": str(folder / "mosei.pkl"),
                "corpus": "mosei",
                "encoder": str(folder / "encoder"),
            }
        },
        "methods": [*trained, *made_up],
        "seeds": list(SEEDS),
        "train": {"epochs": 1, "device": "cpu"},
        "statistics": {"cluster": "none"},
    }
    path = folder / f"params-{count}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def make_up(params: Path) -> None:
    """Write what the runs that were not trained would leave: that of the first method's, with noise."""
    from elision.provenance.layout import Layout
    from elision.provenance.recipe import Recipes
    from elision.settings.params import load
    from elision.store import read_table, read_tensors, write_table, write_tensors

    asked = load(params)
    layout = Layout(Path(asked.results))
    recipes = Recipes(asked, layout)
    source = "mosei", next(iter(asked.variants)), f"seed-{SEEDS[0]}"
    _, history, path = layout.model(*source)
    record, (table, found) = json.loads(path.read_text()), read_table(layout.predictions(*source))
    tensors, header = read_tensors(layout.representations(*source))
    for method in asked.variants:
        for run in asked.runs("mosei"):
            here = "mosei", method, run
            if layout.predictions(*here).exists():
                continue
            random = np.random.default_rng([*map(ord, f"{method} {run}")])
            _, history_here, path_here = layout.model(*here)
            path_here.parent.mkdir(parents=True)
            history_here.write_bytes(history.read_bytes())
            of_run = {**record["provenance"], **recipes.train(*here)}
            path_here.write_text(json.dumps({**record, "provenance": of_run}))
            noisy = table.assign(prediction=table["prediction"] + random.normal(0, 0.3, len(table)))
            made = {**found, **recipes.evaluate(*here)}
            write_table(layout.predictions(*here), noisy, made)
            if run == asked.runs("mosei")[0]:
                write_tensors(layout.representations(*here), tensors, {**header, "provenance": made})


# --- what stages cost


@dataclass(frozen=True)
class Cost:
    """What a stage took: seconds of the processor and on the clock, and peak memory in bytes."""

    processor: float
    clock: float
    peak: int


def cost(folder: Path, *command: object) -> Cost:
    """Run a command in a folder and measure it; this process stays small, for the peak of a child begins with its."""
    (folder / ".snakemake").mkdir(exist_ok=True)  # where checksums of the user's files are kept
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        started = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=folder, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if started.returncode:
            sys.exit(f"{' '.join(map(str, command))}\n{said.read()[-3000:]}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss * 2**10)


def load(params: Path) -> None:
    """Load all splits as a training does."""
    from elision.cli.opened import Workspace
    from elision.training.run import Run
    from elision.training.view import scales

    opened = Workspace(params, None)
    store = opened.store("mosei")
    run = Run(opened.params, "mosei", next(iter(opened.params.variants)), f"seed-{SEEDS[0]}")
    measured = scales(store, standardise=["audio", "vision"])
    splits = {split: run.split(store, split, scales=measured) for split in SPLITS}
    assert sum(map(len, splits.values())) == len(store.samples)


def stages(folder: Path, trained: list[str], counts: list[int]) -> Iterator[tuple[str, int, Cost, int]]:
    """Run all stages on the corpus in a folder; yields name, methods, cost, and bytes of the tensors of each."""

    def verb(*words: str, methods: int = 0) -> Cost:
        return cost(folder, "-m", "elision", *words, "--params", write_params(folder, trained, methods))

    results, of = folder / "results", ("--dataset", "mosei")
    made = verb("prepare", *of)
    store = sum(path.stat().st_size for path in (results / "datasets" / "mosei").glob("*.safetensors"))
    rows = json.loads(subprocess.check_output([sys.executable, str(THIS), "--child", "count_bytes", str(folder)]))
    yield "prepare", 1, made, (folder / "mosei.pkl").stat().st_size
    yield "align", 1, verb("align", *of), rows["tokens"]
    yield "corrupt", 1, verb("corrupt", *of), rows["draws"]
    yield "load", 1, cost(folder, THIS, "--child", "load", write_params(folder, trained, 0)), store
    for method in trained:
        which = (*of, "--method", method, "--run", f"seed-{SEEDS[0]}")
        yield f"train {method}", 1, verb("train", *which), store
        yield f"evaluate {method}", 1, verb("evaluate", *which), rows["test"] + rows["predictions"]
    for count in counts:
        cost(folder, THIS, "--child", "make_up", write_params(folder, trained, count))
        for name in ("aggregate", "significance", "report"):
            # Intervals hold the predictions of all runs, and the values of 13 metrics in all resamples.
            held = count * (len(SEEDS) * rows["predictions"] // 2 + 13 * 1001 * 20 * 8)
            yield name, count, verb(name, methods=count), held if name == "significance" else 0


def count_bytes(folder: Path) -> None:
    """Print the bytes of the tensors that stages work on."""
    from elision.store import Store

    store = Store.open(folder / "results" / "datasets" / "mosei")
    test = store.rows("test")
    width = {name: part.values.itemsize * part.width for name, part in store.modalities.items()}
    positions = {name: int(part.lengths[test].sum()) for name, part in store.modalities.items()}
    found = {
        "tokens": len(store.modalities["text"].values) * 4 * 8,  # from and up to, of two modalities
        "draws": 4 * sum(positions.values()),
        "test": sum(width[name] * count for name, count in positions.items()),
        "predictions": 17 * len(test) * 2 * 8,
    }
    print(json.dumps(found))


def scale(utterances: list[int], trained: list[str], methods: list[int], where: Path | None) -> None:
    """Print the two tables."""
    found: dict[tuple[str, int], dict[int, tuple[Cost, int]]] = {}
    print(
        f"{'stage':22} {'utterances':>10} {'methods':>7} {'CPU s':>8} {'s':>8} {'MiB':>6} {'above start':>11}", end=""
    )
    print(f" {'tensors':>7} {'ratio':>6}", flush=True)
    for size in [SMALLEST, *utterances]:
        with tempfile.TemporaryDirectory(dir=where) as scratch:
            folder = Path(scratch).resolve()
            made = cost(folder, THIS, "--child", "generate", folder, size)
            print(f"{'generate':22} {size:10} {'':7} {made.processor:8.1f} {made.clock:8.1f} {made.peak / 2**20:6.0f}")
            for name, count, used, tensors in stages(folder, trained, methods):
                found.setdefault((name, count), {})[size] = used, tensors
                above = used.peak - found[name, count][SMALLEST][0].peak
                ratio = f"{above / tensors:.2f}" if tensors else "-"
                row = f"{name:22} {size:10} {count:7} {used.processor:8.1f} {used.clock:8.1f} {used.peak / 2**20:6.0f}"
                print(f"{row} {above / 2**20:11.0f} {tensors / 2**20:7.0f} {ratio:>6}", flush=True)
    print("\ngrowth of seconds over growth of data")
    for (name, count), costs in found.items():
        start = costs[SMALLEST][0].processor
        seconds = {size: max(0.05, costs[size][0].processor - start) for size in utterances}
        growth = [
            f"{a} to {b}: {seconds[b] / seconds[a] / ((b - SMALLEST) / (a - SMALLEST)):.2f}"
            for a, b in pairwise(utterances)
        ]
        if count > min(methods):
            fewer = found[name, min(methods)]
            start = fewer[SMALLEST][0].processor
            apart = [max(0.05, of[utterances[-1]][0].processor - start) for of in (fewer, costs)]
            growth.append(f"{min(methods)} to {count} methods: {apart[1] / apart[0] / (count / min(methods)):.2f}")
        print(f"{name:22} {count:3}  {', '.join(growth)}")


# --- what a user must expect


def expect(names: list[str], device: str, epochs: int) -> None:
    """Measure a training step and a prediction of each method at the sizes of each corpus, and add up the runs.

    Every method and corpus has a process of its own, so that none keeps memory from another.
    """
    from elision.methods import load, method_names, resolve
    from elision.settings.params import retrieves
    from elision.task import TaskKind

    names = names or [name for name in method_names() if TaskKind.REGRESSION in load(name).task]
    total: dict[str, float] = {}
    heading = f"{'method':18} {'corpus':6} {'batch':>5} {'steps':>6} {'step ms':>8} {'predict ms':>10} {'MiB':>6}"
    print(f"{heading} {'days':>7} {'days of own epochs':>18}")
    for name, (corpus, (_, valid, test)) in product(names, SPLIT_SIZES.items()):
        hyperparameters, _ = resolve(name, corpus)
        if retrieves(name) or not hyperparameters.epochs:
            why = "it needs the database of a trained teacher" if retrieves(name) else "it is not optimised"
            print(f"{name:18} {corpus:6} not measured: {why}")
            continue
        command = [sys.executable, "-W", "ignore", str(THIS), "--child", "times", name, corpus, device]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:18} {corpus:6} not measured: {(done.stderr.splitlines() or ['killed'])[-1]}", flush=True)
            continue
        found = json.loads(done.stdout)
        size, step, predict = hyperparameters.batch_size, found["step"], found["predict"]
        epoch = found["steps"] * step + math.ceil(valid / size) * predict
        tested = 17 * math.ceil(test / size) * predict
        days, own = (len(SEEDS) * (n * epoch + tested) / 86400 for n in (epochs, hyperparameters.epochs))
        total[corpus] = total.get(corpus, 0) + days
        total[f"{corpus}, own epochs"] = total.get(f"{corpus}, own epochs", 0) + own
        row = f"{name:18} {corpus:6} {size:5} {found['steps']:6} {1e3 * step:8.0f} {1e3 * predict:10.0f}"
        print(f"{row} {found['peak']:6.0f} {days:7.2f} {own:12.2f} ({hyperparameters.epochs:3})", flush=True)
    for what, days in total.items():
        print(f"{what}: {days:.1f} days of one {'core' if device == 'cpu' else device}")


def times(name: Path, corpus: str, device: str) -> None:
    """Print what one method takes at the sizes of a corpus."""
    import torch
    from transformers import BertConfig, BertModel

    from elision.methods import load, resolve
    from elision.methods.layers.text_encoder import TextEncoder

    if device == "cpu":
        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    sizes_of = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    encoder = TextEncoder(BertModel(BertConfig(**sizes_of)), pooler=load(str(name)).uses_pooler)
    hyperparameters, _ = resolve(str(name), corpus)
    method, step, predict = _times(str(name), hyperparameters, OFFICIAL_SPECS[corpus], encoder, device)
    steps = sum(method.passes(math.ceil(SPLIT_SIZES[corpus][0] / hyperparameters.batch_size)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    peak = peak if device == "cpu" else torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"step": step, "predict": predict, "steps": steps, "peak": peak}))


def _times(name: str, hyperparameters: "TrainingHyperparameters", spec: DataSpec, encoder: "TextEncoder", device: str):
    """Return a method, and the seconds of a training step and of a prediction; on a CPU those of the processor."""
    import torch

    from elision.batch import Sequence
    from elision.methods import build, load, resolve
    from elision.settings.params import needs
    from training import prepare, synthetic_batch

    def timed(work: Callable[[], object], steps: int) -> float:
        clock = time.process_time if device == "cpu" else time.perf_counter
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        start = clock()
        for _ in range(steps):
            work()
        if device != "cpu":
            torch.cuda.synchronize()
        return (clock() - start) / steps

    torch.manual_seed(0)
    vectors = load(name).reads_text == "vectors"
    spec = replace(spec, text=encoder.width if vectors else 0)
    if hyperparameters.alignment != "none":
        spec = replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))
    method = build(name, hyperparameters, spec, encoder).to(device)
    teachers = {}
    for teacher in needs(name):
        reads = encoder.width if load(teacher).reads_text == "vectors" else 0
        sizes_of = replace(spec, text=reads)
        teachers[teacher] = build(teacher, resolve(teacher, spec.corpus)[0], sizes_of, copy.deepcopy(encoder))
        teachers[teacher].to(device).eval().requires_grad_(False)
    method.start(teachers, None)
    batch = synthetic_batch(spec, hyperparameters.batch_size, torch.Generator().manual_seed(1))
    if vectors:
        valid = batch.text.valid
        batch.text = Sequence(torch.randn(*valid.shape, spec.text), valid, valid)
        batch.clean = copy.copy(batch)
    batch = batch.to(device)
    optimizers = prepare(method, batch, spec)
    method.on_epoch_start(2)
    steps = 1 if device == "cpu" else 20
    step = timed(lambda: method.update(batch, optimizers, 1), steps)
    method.eval()
    with torch.inference_mode():
        return method, step, timed(lambda: method.predict(batch), steps)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, nargs="+", default=[1000, 5000, 22856])
    parser.add_argument("--trained", nargs="+", default=list(TRAINED), help="methods that are trained for an epoch")
    parser.add_argument("--methods", type=int, nargs="+", default=[5, 40])
    parser.add_argument("--folder", type=Path, help="where the corpora are made; the largest takes 12 GB")
    parser.add_argument("--expect", nargs="*", metavar="METHOD", help="measure steps of these methods, or of all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, folder, *more = arguments.child
        {step.__name__: step for step in (generate, load, make_up, count_bytes, times)}[name](Path(folder), *more)
    elif arguments.expect is not None:
        expect(arguments.expect, arguments.device, arguments.epochs)
    else:
        scale(arguments.utterances, arguments.trained, arguments.methods, arguments.folder)


if __name__ == "__main__":
    main()
