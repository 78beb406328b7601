"""A kind that is added as docs/add-a-corruption.md says, by one file in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import elision

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "add-a-corruption.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python with the copy that has the kind."""
    folder = tmp_path_factory.mktemp("added")
    ignored = shutil.ignore_patterns("*.pyc", "*.digest.json")
    shutil.copytree(Path(elision.__file__).parent, folder / "elision", ignore=ignored)
    (kind,) = blocks("python")
    (folder / "elision" / "corruption" / "kinds" / "tail.py").write_text(kind)

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def test_the_kind_of_the_guide_meets_the_battery(run):
    battery = REPOSITORY / "tests" / "corruption" / "test_corruption_kinds.py"
    options = ("-p", "no:cacheprovider", "-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY))
    done = run("-m", "pytest", *options, str(battery), "-k", "tail")
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout


def test_the_settings_of_the_guide_are_checked_and_the_kind_is_named(run, tmp_path):
    (text,) = blocks("yaml")
    settings = {"datasets": {"demo": {"source": "demo"}}, "methods": ["text_only"], **yaml.safe_load(text)}
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(settings))
    assert run("-m", "elision", "params", "check", "--params", str(params)).returncode == 0
    params.write_text(yaml.safe_dump({**settings, "corruption": {"tail": [2]}, "train": {"corruption": "tails"}}))
    refused = run("-m", "elision", "params", "check", "--params", str(params))
    assert refused.returncode == 2
    assert "corruption.tail.0: " in refused.stderr and "did you mean tail?" in refused.stderr


def test_the_kind_of_the_guide_is_clean(run, tmp_path):
    path = tmp_path / "tail.py"
    path.write_text(blocks("python")[0])
    options = ("--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "D102,RUF012,I001")
    for command in (("check", *options), ("format", "--check", *options[:2])):
        done = run("-m", "ruff", *command, str(path))
        assert done.returncode == 0, done.stdout
