"""Two Snakemakes in one folder, and one whose results are on a full disk."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from workflow_project import Project, Warm

from elision.store import Store

pytestmark = pytest.mark.workflow

PARAMS = {
    "datasets": {"mine": {"source": "arrays", "table": "table.csv", "audio": {"file": "audio.npy"}}},
    "methods": ["majority"],
}
TARGET = ("--cores", "1", "results/datasets/mine/samples.parquet")


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "project", PARAMS)
    np.save(project.folder / "audio.npy", np.ones((3, 4), np.float32))
    rows = [f"{split} clip,0.5,{split}" for split in ("train", "valid", "test")]
    (project.folder / "table.csv").write_text("\n".join(["id,label,split", *rows]))
    return project


def test_a_second_snakemake_is_refused_and_the_first_goes_on(project):
    first, locks = project.start(*TARGET), project.folder / ".snakemake" / "locks"
    deadline = time.monotonic() + 300
    while not list(locks.glob("*")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGSTOP)
    try:
        assert first.poll() is None, "was over too early"
        output = project.snakemake(*TARGET, check=False)
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert "cannot be locked" in output and "--unlock" in output
    assert "Traceback" not in output
    assert first.wait(300) == 0
    assert len(Store.open(project.folder / "results" / "datasets" / "mine").samples) == 3


def test_results_on_a_full_disk_stop_the_workflow_with_the_reason_and_a_retry_works(project, mount):
    project = Warm(project.folder, PARAMS)
    results = project.folder / "results"
    mount(results, "64k")
    (results / "filler").write_bytes(bytes(24 << 10))
    np.save(project.folder / "audio.npy", np.random.default_rng(1).normal(size=(3, 4000)).astype(np.float32))
    output = project.snakemake(*TARGET, check=False)
    store = results / "datasets" / "mine"
    assert "audio.safetensors: no space left on device; free some space and start again" in output
    assert "Error in rule prepare_sequences" in output
    assert "Traceback" not in output
    assert list(store.glob(".*")) == [] and not (store / "samples.parquet").exists()
    subprocess.run(["mount", "-o", "remount,size=4m", results], check=True)
    project.snakemake(*TARGET)
    assert Store.open(store).modalities["audio"].width == 4000
