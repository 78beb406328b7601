"""Docs whose examples run, and facts of the project that several files state."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import elision

REPOSITORY = Path(__file__).parent.parent
WITH_EXAMPLES = [path.name for path in sorted((REPOSITORY / "docs").glob("*.md")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_print_what_the_page_says(name):
    failed, tried = doctest.testfile(str(REPOSITORY / "docs" / name), module_relative=False, encoding="utf-8")
    assert tried and not failed


def test_the_library_page_has_examples():
    assert "library.md" in WITH_EXAMPLES


def test_every_file_states_the_same_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    latest = re.search(r"^## \[(.+)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation["version"] == elision.__version__ == latest[1]


def workflows():
    """What the workflows of the repository run, line by line."""
    for path in sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            yield from (step["run"] for step in job["steps"] if "run" in step)


def test_workflows_run_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    asked = {name for command in workflows() for name in re.findall(r"\bmake ([a-z]+)", command)}
    assert {"lint", "quick", "demo", "docs"} <= asked <= targets


def test_quick_tests_run_on_the_versions_of_python_that_the_package_is_for():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "checks.yml").read_text())["jobs"]
    tested = jobs["quick"]["strategy"]["matrix"]["python"]
    assert [f"Programming Language :: Python :: {version}" for version in tested] == [
        line for line in project["classifiers"] if "Python ::" in line
    ]


def test_hooks_run_the_tools_that_are_installed_here():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {hook["entry"].split()[0] for repository in hooks for hook in repository["hooks"]}
    assert tools == {".venv/bin/ruff", ".venv/bin/snakefmt"}
