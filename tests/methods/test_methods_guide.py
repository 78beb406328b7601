"""The method in the guide is a method: one file, and all that is asked of a method holds."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elision.cli import app

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "add-a-method.md"
FILE = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project to which the one file is added."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow/elision", "tests/methods"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / "workflow" / "elision" / "methods" / "mine.py").write_text(FILE, encoding="utf-8")
    return folder


def run(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "workflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_it_passes_the_linter(project):
    file = "workflow/elision/methods/mine.py"
    run(project, "ruff", "check", "--no-cache", file)
    run(project, "ruff", "format", "--no-cache", "--check", file)


def test_every_test_of_a_method_passes_on_it(project):
    told = run(project, "pytest", "-p", "no:cacheprovider", "tests/methods/test_methods_battery.py", "-k", "mine")
    assert int(re.search(r"(\d+) passed", told)[1]) > 10


def test_every_check_passes_on_it_from_the_command_line(project):
    told = run(project, "elision", "check", "mine", "workflow/elision/methods/mine.py", "--json")
    first, second = json.loads(told)
    assert first == second and first["passed"] and first["method"] == "mine"
    assert {each["status"] for each in first["checks"]} == {"passed", "skipped"}


def test_the_commands_know_it(add_method, tmp_path):
    add_method("mine", FILE)
    params = {"datasets": {"demo": {"source": "demo"}}, "methods": ["mine", {"wide": {"method": "mine", "width": 128}}]}
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(params))
    for words, shown in {
        f"params check --params {file}": "",
        f"params show wide --dataset demo --params {file}": "override",
        "methods mine": "learning_rate_text_encoder: 5e-05",
        "methods": "Author and Other 2025",
    }.items():
        done = CliRunner().invoke(app, words.split())
        assert done.exit_code == 0 and shown in done.output, done.output
