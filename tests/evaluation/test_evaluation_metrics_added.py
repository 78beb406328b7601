"""A metric is added by one file: the example of the guide, in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "add-a-metric.md").read_text(encoding="utf-8")
LABEL, PREDICTION = [1.0, -2.0, 0.0, 3.0, -0.4], [0.5, -1.0, 0.2, 1.0, -0.4]

# Identities as they are, and after each of some edits of a file.
IDENTITIES = """
import json, sys
from pathlib import Path
from elision.provenance import recipe
from elision.provenance.recipe import Recipes
from elision.settings.params import Params

demo, classes = {"source": "demo"}, {"source": "demo", "task": "classification", "classes": ["a", "b"], "cuts": [0]}

def identities():
    found = {}
    recipe._module.cache_clear()
    for selection in ("valid", "test_oracle"):
        recipes = Recipes(Params(
            datasets={"demo": demo, "classes": classes}, seeds=[1], train={"selection": selection},
            methods=["majority", {"short": {"method": "text_only", "epochs": 2}}],
        ))
        for dataset in ("demo", "classes"):
            for step in ("train", "evaluate"):
                found[f"{step} {dataset} {selection}"] = getattr(recipes, step)(dataset, "short", "seed-1")["identity"]
        found[f"extract {selection}"] = recipes.extract("demo", "audio")["identity"]
        for step in ("aggregate", "significance", "report"):
            found[f"{step} {selection}"] = getattr(recipes, step)["identity"]
    return found

made = [identities()]
for path, old, new in json.loads(sys.argv[1]):
    source = Path(path).read_text()
    assert source.count(old) == 1, (path, old)
    Path(path).write_text(source.replace(old, new))
    made.append(identities())
    Path(path).write_text(source)
print(json.dumps(made))
"""

FACTS = f"""
import json, runpy
import numpy as np, pandas as pd
from elision.evaluation.aggregate import aggregate
from elision.evaluation.metrics import family, metric, score
from elision.evaluation.significance import significance
from elision.report.text import heading
from elision.settings.params import Statistics

label, prediction = {LABEL}, {PREDICTION}
table = pd.DataFrame({{"id": list("abcde"), "corruption": "random", "level": 0.5, "modalities": "text",
                      "checkpoint": "valid", "prediction": prediction, "label": label}})
tables, samples = [("d", "mosi", "m", "seed-1", table)], {{"d": pd.DataFrame({{"id": list("abcde")}})}}
intervals, _ = significance(tables, samples, Statistics(resamples=100))
row = intervals.query("metric == 'rmse' and corruption == 'random'").iloc[0]
listed = runpy.run_path({str(REPOSITORY / "docs" / "generate.py")!r})["metrics"]()
print(json.dumps({{
    "reported": family("mosi").reported, "emotion": family("emotion:a,b").reported,
    "selection": family("mosi").selection, "checkpoint": family("mosi").selected_by["rmse"],
    "score": score(prediction, label, "mosi")["rmse"], "heading": heading("rmse"),
    "aggregate": aggregate(tables).query("metric == 'rmse'")["value"].tolist(),
    "interval": row[["value", "low", "high"]].tolist(),
    "listed": listed.count("| `rmse` | RMSE | lower | units of the label | `mae` |"),
}}))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, and a function that runs a program on it and reads the JSON that it prints."""
    copy = tmp_path / "elision"
    shutil.copytree(REPOSITORY / "workflow" / "elision", copy, ignore=shutil.ignore_patterns("__pycache__"))

    def run(program, *arguments, fails=False):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout.splitlines()[-1])

    return copy / "evaluation" / "metrics", run


def example():
    """Name and text of the file of the guide."""
    (name,), (text,) = re.findall(r"as `(\w+\.py)`", GUIDE), re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    return name, text


def test_one_file_adds_a_metric_to_tables_scores_intervals_and_docs(package):
    metrics, run = package
    name, text = example()
    (metrics / name).write_text(text)
    found = run(FACTS)
    assert found["reported"][6:9] == ["mae", "rmse", "corr"]
    assert "rmse" not in found["emotion"]
    assert (found["selection"], found["checkpoint"]) == (["mae", False], "mae")
    expected = np.sqrt(np.square(np.subtract(PREDICTION, LABEL)).mean())
    assert found["score"] == pytest.approx(expected)
    assert found["aggregate"] == [pytest.approx(expected)]
    value, low, high = found["interval"]
    assert value == pytest.approx(expected)
    assert 0 == low < value < high < 2.3
    assert found["heading"] == "RMSE ↓"
    assert found["listed"] == 2, "once for each family"


def test_a_new_metric_makes_no_training_stale_and_one_that_selects_does(package):
    metrics, run = package
    edits = {
        ("correlation.py", "-1, 1)", "-2, 1)"): set(),
        ("accuracy.py", "classes.right /", "1 - classes.right /"): {"demo test_oracle", "classes test_oracle"},
        ("recall.py", "occurs.sum(0)", "len(occurs)"): {"classes valid", "classes test_oracle"},
        ("error.py", "np.abs(", "np.square("): {"demo valid", "demo test_oracle"},
    }
    comment = "error.py", "METRICS = (", "# A comment.\nMETRICS = ("
    before, *edited = run(
        IDENTITIES, json.dumps([(str(metrics / file), old, new) for file, old, new in (*edits, comment)])
    )
    name, text = example()
    (metrics / name).write_text(text)
    (added,) = run(IDENTITIES, "[]")

    def changed(now):
        return {step for step in before if now[step] != before[step]}

    kinds = ("valid", "test_oracle")
    evaluated = {f"{step} {kind}" for step in ("aggregate", "significance", "report") for kind in kinds}
    assert changed(added) == evaluated
    for (file, *_), now, trained in zip(edits, edited, edits.values(), strict=False):
        steps = {f"{step} {of}" for step in ("train", "evaluate") for of in trained}
        assert changed(now) == evaluated | steps, file
    assert changed(edited[-1]) == set()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("METRICS = (", "FOUND = (", "squared_error.py defines no metrics; add METRICS"),
        ('key="rmse"', 'key="mae"', "metric 'mae' is also defined in evaluation.metrics.error; rename one of the two"),
        ('"sims": "mae"', '"sins": "mae"', "unknown family 'sins'; use mosi, sims or emotion"),
        ('{"mosi": "mae"', '{"mosi": "rmsd"', "reads it from the checkpoint of 'rmsd'"),
        ("column=135", "selects=True", "selects=True in mae, rmse; exactly one metric needs it"),
        ("column=135", "headline=1", "headline=1 in f1_negpos, rmse; exactly one metric needs it"),
        ('better="lower",', "better=None, headline=3,", "headline and selects need a direction"),
    ],
)
def test_a_wrong_entry_is_an_error_that_says_what_to_change(package, old, new, says):
    metrics, run = package
    name, text = example()
    assert old in text
    (metrics / name).write_text(text.replace(old, new))
    assert says in run("import elision.evaluation.metrics", fails=True)
