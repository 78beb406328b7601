"""Every params file that a page of the docs shows as a whole runs to the report."""

import copy
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from workflow_project import REPOSITORY, SMALL

from elision.cli import steps
from elision.datasets.mmin import PUBLISHED
from elision.methods import load
from elision.report import drawing
from elision.settings.params import Params, encoded, extracted, method_names, needs, retrieves, teacher_names
from elision.settings.params import load as load_params
from elision.task import SPLITS

pytestmark = pytest.mark.workflow


def shown() -> dict[str, dict]:
    """Blocks of the docs that are params files: they say what is read and what is trained."""
    found = {}
    for page in sorted((REPOSITORY / "docs").glob("*.md")):
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            block = yaml.safe_load(text)
            if isinstance(block, dict) and {"datasets", "methods"} <= set(block):
                found[f"{page.stem}-{sum(name.startswith(page.stem) for name in found) + 1}"] = block
    return found


SHOWN = shown()


def _vectors(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(3, 2, shape).astype(np.float32)


def _arrays(folder: Path, entry: dict) -> None:
    """A table of clips of six speakers with the columns that are asked for, and the arrays of each modality."""
    random, splits = np.random.default_rng(3), [*SPLITS, "train", "train", "test"] * 6
    ids = [f"video{k % 5}$_${k}" for k in range(len(splits))]
    classes = entry.get("classes") if "cuts" not in entry else None
    middle = entry.get("cuts", [0.0])[0]
    labels = np.resize(classes, len(ids)) if classes else np.round(np.linspace(middle - 2, middle + 2, len(ids)), 1)
    columns = {"label": "label", "split": "split", "speaker": "speaker", "text": "text", **entry.get("columns", {})}
    found = {"label": labels, "split": splits, "speaker": np.arange(len(ids)) // 6, "text": "Some words of a person"}
    table = {columns[name]: values for name, values in found.items() if columns[name]}
    (folder / entry["table"]).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": ids, **table}).to_csv(folder / entry["table"], index=False)
    for array in (entry[name] for name in ("audio", "vision") if name in entry):
        path = folder / array["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            there = dict(np.load(path)) if path.exists() else {}
            np.savez(path, **{**there, array["values"]: _vectors(random, len(ids), 5), array["ids"]: ids})
            continue
        for split in SPLITS:
            with h5py.File(str(path).format(split=split), "w") as file:
                file[array["values"]] = _vectors(random, splits.count(split), 3, 5)


def _mmin(folder: Path, entry: dict) -> None:
    """Folds and sequences with the names and widths of those that were published."""
    random, names = np.random.default_rng(3), [f"Ses0{k % 5 + 1}F_impro01_F{k:03}" for k in range(32)]
    for fold in range(1, entry["cross_validation"] + 1):
        turned = np.roll(names, 8 * fold).tolist()
        for part, of in (("trn", turned[:16]), ("val", turned[16:24]), ("tst", turned[24:])):
            target = folder / entry["root"] / "target" / str(fold)
            target.mkdir(parents=True, exist_ok=True)
            np.save(target / f"{part}_int2name.npy", np.array([[name.encode()] for name in of]))
            np.save(target / f"{part}_label.npy", np.eye(4, dtype=np.float32)[[names.index(n) % 4 for n in of]])
    for letter, (name, width) in zip("LAV", PUBLISHED["iemocap"].values(), strict=True):
        (folder / entry["root"] / letter).mkdir()
        with h5py.File(folder / entry["root"] / letter / f"{name}.h5", "w") as file:
            for utterance in names:
                file[utterance] = _vectors(random, 3, width)


def _mer2024(folder: Path, entry: dict) -> None:
    """Labelled clips, clips without labels, and the feature sets that are read by default."""
    random, classes = np.random.default_rng(3), ("neutral", "angry", "happy", "sad", "worried", "surprise")
    labelled = {f"sample_{k:03}": {"emo": classes[k % 6]} for k in range(36)}
    pool = {f"other_{k:03}": {"emo": "neutral"} for k in range(12)}
    (folder / entry["labels"]).parent.mkdir(parents=True)
    np.savez_compressed(folder / entry["labels"], train_corpus=labelled, test1_corpus=pool)
    for name in ("Baichuan2-13B-Base-UTT", "chinese-hubert-large-UTT", "clip-vit-large-patch14-UTT"):
        (folder / entry["features"] / name).mkdir(parents=True)
        for clip in (*labelled, *pool):
            np.save(folder / entry["features"] / name / f"{clip}.npy", _vectors(random, 8))


WRITE = {"arrays": _arrays, "mmin": _mmin, "mer2024": _mer2024, "demo": lambda *_: None}
# Two folds where a block asks for more; the demo as other tests of workflows have it.
SHRUNK = {"mmin": {"cross_validation": 2}, "mer2024": {"folds": {"by": "id", "count": 2}}, "demo": {"clips": 12}}


def shrunk(block: dict) -> dict:
    """Leave out what only takes time: seeds, folds, epochs, levels and sizes; names, rows and all else stay."""
    params = copy.deepcopy(block)
    for entry in params["datasets"].values():
        entry |= SHRUNK.get(entry["source"], {})
        if "folds" in entry:
            entry["folds"]["count"] = 2
    starts = teacher_names()
    params["methods"] = [
        row.name if row.name in starts else {row.name: {"method": row.method, **_small(row.method, row.overrides)}}
        for row in Params.model_validate(block).methods  # all stands for every method
    ]
    teachers = params.get("teachers", {})
    params["teachers"] = {name: _small(name, teachers.get(name, {})) for name in teacher_names()}
    params["seeds"] = params.get("seeds", [1])[:1]
    if noise := (corruption := params.setdefault("corruption", {})).get("noise"):
        noise["intensities"] = [20, 100]
    corruption["random"] = corruption.get("random", [0.0, 0.9])[::9]
    params["features"] = SMALL["features"]
    params["train"] = {**params.get("train", {}), "device": "cpu", "epochs": 1, "seeds_per_job": "all"}
    params["statistics"] = {**params.get("statistics", {}), "resamples": 100}
    return params


def _small(method: str, overrides: dict) -> dict:
    """What a row says, apart from how long it is trained, and what makes it small where the row is silent."""
    small = {**load(method).small, **overrides, "batch_size": 8, "accumulate": 1}
    return {key: value for key, value in small.items() if key not in ("epochs", "constant_epochs", "decay_epochs")}


def test_the_docs_show_params_files():
    assert len(SHOWN) > 7
    assert {entry["source"] for block in SHOWN.values() for entry in block["datasets"].values()} == set(WRITE)


def _run() -> None:
    """Take each step of the params file of this folder in this process, as the rules do in theirs."""
    params = load_params("params.yaml")
    for dataset in params.datasets:
        steps.prepare(dataset)
        for modality in extracted(params, dataset):
            steps.extract(modality, dataset, 0)
            steps.merge(modality, dataset)
        if extracted(params, dataset):
            steps.assemble(dataset)
        steps.align(dataset)
        if encoded(params, dataset):
            steps.encode(dataset)
        steps.corrupt(dataset)
        runs = params.runs(dataset)
        for method in sorted(params.trained, key=lambda name: bool(needs(params.trained[name].method))):
            steps.train(dataset, method, runs)
            if method in map(retrieves, method_names()):
                for run in runs:
                    steps.index(dataset, method, run)
        for method in params.variants:
            steps.evaluate(dataset, method, runs)
    steps.aggregate()
    steps.significance()
    steps.report()


@pytest.mark.parametrize("name", SHOWN)
def test_a_params_file_of_the_docs_runs_to_the_report(name, tmp_path, monkeypatch):
    params = shrunk(SHOWN[name])
    for entry in params["datasets"].values():
        WRITE[entry["source"]](tmp_path, entry)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "write", lambda figure, stem: "<svg></svg>")  # figures are made, but not rendered
    _run()
    page = Path("results/report.html").read_text()
    rows = Params.model_validate(SHOWN[name]).variants
    assert len(rows) > 2 and all(f'<th scope="row">{row}' in page for row in rows)
