"""A table and a figure that are added as docs/add-a-table.md says, each by one file in a copy of the package."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from report_results import results

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "add-a-table.md").read_text(encoding="utf-8")
BUILD = """
import pickle, sys
from pathlib import Path
from elision.report import build, files
results, methods = pickle.loads(Path("results.pickle").read_bytes())
build(results, Path("written"), methods=methods, settings={})
print(*files(results.asked), sep="\\n")
"""


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """Return a folder with a copy of the workflow that has both, and a way to run Python with the copy."""
    folder = tmp_path_factory.mktemp("added")
    ignored = shutil.ignore_patterns("*.pyc", "*.digest.json")
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=ignored)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    table, figure = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    report = folder / "workflow" / "elision" / "report"
    (report / "tables" / "hardest.py").write_text(table)
    (report / "figures" / "ranking.py").write_text(figure)

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(folder / "workflow")}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )

    return folder, run


def test_both_are_written_and_shown(added, metrics, methods):
    folder, run = added
    source = results(metrics[metrics["dataset"] == "sims_data"])
    (folder / "results.pickle").write_bytes(pickle.dumps((source, methods)))
    done = run("-c", BUILD)
    assert done.returncode == 0, done.stderr
    written = [str(path.relative_to(folder / "written")) for path in (folder / "written").rglob("*.*")]
    assert sorted(written) == sorted(done.stdout.split())
    names = {"tables/hardest.csv", "tables/hardest.md", "tables/hardest.tex"}
    assert names | {f"figures/ranking_sims_data.{ending}" for ending in ("svg", "png", "pdf")} <= set(written)
    page = (folder / "written" / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<h3>Differences between methods</h3>") :]
    section = section[: section.index("<h3>", 1)]
    assert "The highest level of each corruption (sims_data)" in section
    assert "F1, mean over the conditions that rank the methods. Lines: one standard deviation over seeds." in section
    text = (folder / "written" / "tables" / "hardest.md").read_text(encoding="utf-8")
    assert "random missing, mean over 1 rate" in text and "mean over the 6 sets of absent modalities" in text


@pytest.mark.workflow
def test_the_workflow_makes_both(added):
    folder, run = added
    (folder / "params.yaml").write_text(
        yaml.safe_dump({"datasets": {"demo": {"source": "demo"}}, "methods": ["majority"], "seeds": [1]})
    )
    asked = ("tables/hardest.tex", "figures/ranking_demo.svg", "tables/random_missing.csv")
    done = run("-m", "snakemake", "-n", *(f"results/{name}" for name in asked))
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_of_one_name_are_an_error(added):
    folder, run = added
    path = folder / "workflow" / "elision" / "report" / "tables" / "twice.py"
    path.write_text((path.parent / "hardest.py").read_text())
    done = run("-c", "from elision.report.table import all_tables; all_tables()")
    path.unlink()
    assert done.returncode != 0 and "two tables have the name 'hardest'" in done.stderr


def test_the_files_of_the_guide_are_clean(added):
    folder, run = added
    report = folder / "workflow" / "elision" / "report"
    options = ("--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "ANN,D102")
    for path in (report / "tables" / "hardest.py", report / "figures" / "ranking.py"):
        for command in (("check", *options), ("format", "--check", *options[:2])):
            done = run("-m", "ruff", *command, str(path))
            assert done.returncode == 0, done.stdout
