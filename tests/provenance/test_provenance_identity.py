"""Which edits of the package make artifacts stale: real edits of a copy, read by a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import elision

PACKAGE = Path(elision.__file__).parent

IDENTITIES = """
import json, sys
from elision.provenance.recipe import Recipes
from elision.settings.params import Params
params = Params(
    datasets={"demo": {"source": "demo"}},
    methods=["lnln", {"apart": {"method": "text_only", "corruption": "complete"}}, "mmin"],
    seeds=[1],
    corruption={"random": [0.5]},
)
recipes, run = Recipes(params), "seed-1"
found = {"prepare": recipes.prepare("demo"), "corrupt": recipes.corrupt("demo"), "align": recipes.align("demo")}
found |= {f"extract {m}": recipes.extract("demo", m) for m in ("text", "audio", "vision")}
for method in params.trained:
    found[f"train {method}"] = recipes.train("demo", method, run)
for method in params.variants:
    found[f"evaluate {method}"] = recipes.evaluate("demo", method, run)
found |= {"aggregate": recipes.aggregate, "significance": recipes.significance, "report": recipes.report}
print(json.dumps({name: recipe["identity"] for name, recipe in found.items()}))
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the package, and a function that gives the identities of what it makes after some edits."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "elision", ignore=shutil.ignore_patterns("*.pyc"))

    def identities(**edits: tuple[str, str] | str) -> dict[str, str]:
        """Each edit: PATH=(old, new), or PATH=content of a new file."""
        kept = {}
        for name, edit in edits.items():
            path = folder / "elision" / name
            kept[path] = path.read_text() if path.exists() else None
            if isinstance(edit, str):
                assert kept[path] is None, f"{path} is there already"
                path.write_text(edit)
            else:
                assert kept[path].count(edit[0]) == 1, f"{edit[0]!r} in {path}"
                path.write_text(kept[path].replace(*edit))
        try:
            environment = {**os.environ, "PYTHONPATH": str(folder)}
            command = [sys.executable, "-c", IDENTITIES]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)
        finally:
            for path, content in kept.items():
                path.unlink() if content is None else path.write_text(content)

    return identities


@pytest.fixture(scope="module")
def before(copied):
    return copied()


def differing(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


KIND = '''
"""Nothing but the first frame."""

from elision.corruption.kind import Condition, Draw, Drawn, Kind
from elision.settings.fields import Rates


class First(Kind):
    """The first frame alone."""

    name, rank = "first", 99
    setting = (Rates, [], "rates")
    training = "everything but the first frame is lost"
    corruptions = {"first": "first frame alone"}
    caption, condition, about = "First frame alone", "rate", "Only the first frame is there."

    def conditions(self, setting, present):
        return [Condition("first", rate, present) for rate in setting]
'''

METHOD = '''
"""The mean."""

from elision.methods.base import Method


class Mean(Method):
    """The mean."""

    name = "mean"
    task = ("regression",)
'''

SOURCE = (PACKAGE / "datasets" / "mer2024.py").read_text()
PROTOCOL = "source: mine\ncorruption: {random: [0.3]}\ntrain: {corruption: burst}\n"
VERB = '''

@app.command()
def greet() -> None:
    """Greet."""
    print("hello")
'''


def test_what_is_not_used_makes_nothing_stale(copied, before):
    after = copied(
        **{
            "corruption/kinds/first.py": KIND,
            "settings/protocols/mine.yaml": PROTOCOL,
            "methods/mean.py": METHOD,
            "datasets/another.py": SOURCE,
            "cli/greeting.py": VERB,
            "corruption/kinds/burst.py": (">= 1 - 1 / mean", ">= 1 - 2 / mean"),
            "methods/misa.py": ('name = "misa"', 'also = 1\n    name = "misa"'),
        }
    )
    assert differing(before, after) == set()


def test_a_new_table_or_a_changed_page_makes_the_report_anew_alone(copied, before):
    after = copied(**{"report/another.py": "VALUE = 1\n"})
    assert differing(before, after) == {"report"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"training/checkpoint.py": ("import torch\n", "import torch  # a comment\n")}, set()),
        (
            {"corruption/kinds/half_complete.py": ("return Drawn(rates,", "return Drawn(rates * 1,")},
            {"train lnln", "evaluate lnln", "aggregate", "significance", "report"},
        ),
        (
            {"corruption/kinds/complete.py": ("return None", "return None or None")},
            {"train apart", "evaluate apart", "train mmin_teacher", "train mmin", "evaluate mmin"}
            | {"aggregate", "significance", "report"},
        ),
        (
            {"corruption/kinds/random.py": ("rank = 10", "also, rank = 1, 10")},
            {"corrupt", "evaluate lnln", "evaluate apart", "evaluate mmin", "aggregate", "significance", "report"},
        ),
        (
            {"methods/text_only.py": ("name = ", "also = 1\n    name = ")},
            {"train apart", "evaluate apart", "aggregate", "significance", "report"},
        ),
    ],
)
def test_a_line_that_a_step_runs_makes_that_step_stale(copied, before, edit, expected):
    assert differing(before, copied(**edit)) == expected


def test_the_loop_and_the_metric_that_selects_are_in_every_training(copied, before):
    trained = {name for name in before if name.startswith(("train", "evaluate"))}
    below = trained | {"aggregate", "significance", "report"}
    after = copied(**{"training/loop.py": ("import math\n", "import math as math\n")})
    assert differing(before, after) == below
