"""Snakemake as a user types it, without a profile or another option than the number of cores."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from workflow_project import REPOSITORY, TINY, Project, write_arrays

pytestmark = pytest.mark.workflow

SAMPLES = "results/datasets/first/samples.parquet"


class Folder(Project):
    """A copy of the workflow that is entered, and Snakemake with its own Snakefile."""

    def __init__(self, folder: Path, params: dict) -> None:
        super().__init__(folder, params)
        for name in ("Snakefile", "profiles", "envs", "workflow"):
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
            copy(REPOSITORY / name, folder / name)
        write_arrays(folder / "data" / "first")

    def command(self, *arguments: str) -> list[str]:
        return ["snakemake", *arguments]


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "project", TINY)


def test_the_message_of_a_job_that_fails_is_printed(folder):
    table = folder.folder / "data" / "first" / "samples.csv"
    table.write_text(table.read_text().replace("sample_7,", "sample_6,"))
    output = folder.snakemake("--cores", "1", check=False)
    log = (folder.folder / "results" / "logs" / "prepare" / "first.log").read_text()
    (message,) = [line for line in log.splitlines() if line.startswith("elision: ")]
    assert "sample_6" in log
    assert message in output


def test_a_job_that_was_cut_short_runs_again(folder):
    """Killed between the last byte of its output and its end, a job leaves a file that may not be whole."""
    made = folder.folder / SAMPLES
    for _ in range(5):
        shutil.rmtree(folder.folder / "results", ignore_errors=True)
        process = folder.start("--cores", "1", SAMPLES)
        while not made.exists():
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert folder.elision("adopt").returncode == 0  # removes the lock
        if "incomplete" in folder.snakemake("-n", "--cores", "1", "--workflow-profile", "none", SAMPLES, check=None):
            break
    else:
        pytest.fail("the job was never killed before its end")
    output = folder.snakemake("--cores", "1", SAMPLES)
    assert "rule prepare_sequences" in output
    assert "Nothing to be done" in folder.snakemake("--cores", "1", SAMPLES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("parms=params.yaml",), "--config: unknown key 'parms'; did you mean params?"),
        (("params=5",), "--config: params is 5; give a path"),
        (("params=nowhere.yaml",), "nowhere.yaml: the file does not exist"),
    ],
)
def test_what_is_typed_after_config_is_known(folder, words, message):
    output = folder.snakemake("-n", "--cores", "1", "--config", *words, check=False)
    assert f"elision: {message}" in output
    assert "Traceback" not in output


def test_a_key_of_a_configfile_is_known(folder):
    (folder.folder / "config.yaml").write_text("param: params.yaml\n")
    output = folder.snakemake("-n", "--cores", "1", "--configfile", "config.yaml", check=False)
    assert "elision: --config: unknown key 'param'; did you mean params?" in output
