"""A disk that is full or read-only, for real: a small file system in memory, which only root can mount."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from elision import pickles
from elision.datasets import _face, demo
from elision.errors import ElisionError
from elision.files import replacing
from elision.store import Store, write_table, write_tensors
from elision.training import checkpoint

NUMBERS = np.random.default_rng(5).normal(size=(200, 100)).astype(np.float32)  # 80 kB
FULL = "no space left on device; free some space and start again. Finished work is kept"


class Disk:
    """A file system of 1 MB."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, leave: int = 8192) -> None:
        """Fill it up, but for some bytes."""
        free = os.statvfs(self.folder)
        self._filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"filler"}


@pytest.fixture
def disk(tmp_path, mount):
    mount(tmp_path / "disk", "1m")
    return Disk(tmp_path / "disk")


def _clip(path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (8, _face.SIZE, _face.SIZE, 3), np.uint8)
    demo._encode(path, frames, np.zeros(8000, np.int16), 16000)


def _text(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("words " * 20_000)


WRITERS = {
    "audio.safetensors": lambda path: write_tensors(path, {"values": NUMBERS}, {}),
    "samples.parquet": lambda path: write_table(path, pd.DataFrame(NUMBERS).rename(columns=str), {}),
    "state.pt": lambda path: checkpoint.save_state(path, {"identity": "x", "numbers": torch.from_numpy(NUMBERS)}),
    "weights.safetensors": lambda path: checkpoint.save_weights(path, _method()),
    "export.pkl": lambda path: pickles.dump({"numbers": NUMBERS}, path),
    "clip.mp4": _clip,
    "report.html": _text,
}


def _method() -> torch.nn.Module:
    method = torch.nn.Module()
    method.encoder, method.head = torch.nn.Identity(), torch.nn.Linear(200, 100)
    method.stores_encoder = False
    return method


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_the_old_file_stays_and_a_retry_works(disk, name):
    path = disk.folder / name
    path.write_text("old")
    disk.fill()
    with pytest.raises(ElisionError) as caught:
        WRITERS[name](path)
    assert str(caught.value) == f"{path}: {FULL}"
    assert path.read_text() == "old"
    assert disk.names == {name}
    disk.free()
    WRITERS[name](path)
    assert path.stat().st_size > 3 and disk.names == {name}


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_disk_is_told_and_a_retry_works(disk, name):
    path = disk.folder / "new" / name
    disk.remount("ro")
    with pytest.raises(ElisionError) as caught:
        WRITERS[name](path)
    expected = "read-only file system; make the file system writable and start again. Finished work is kept"
    assert str(caught.value) == f"{path}: {expected}"
    disk.remount("rw")
    WRITERS[name](path)
    assert path.exists()


# --- a verb, as the workflow runs it


def project(folder: Path, width: int) -> None:
    """A dataset whose audio has 12 * width numbers."""
    np.save(folder / "audio.npy", np.ones((12, width), np.float32))
    rows = [f"clip {k},0.5,{('train', 'valid', 'test')[k % 3]}" for k in range(12)]
    (folder / "table.csv").write_text("\n".join(["id,label,split", *rows]))
    entry = {"source": "arrays", "table": "table.csv", "audio": {"file": "audio.npy"}}
    (folder / "params.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}, "methods": ["majority"]}))


def elision(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "ELISION_PARAMS"}
    command = [sys.executable, "-m", "elision", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **options)


def test_a_dataset_that_does_not_fit_is_not_left_half_and_a_retry_works(disk, tmp_path):
    prepare = ("prepare", "--dataset", "mine", "--results", str(disk.folder))
    project(tmp_path, 10)
    assert elision(tmp_path, *prepare).returncode == 0
    store = disk.folder / "datasets" / "mine"
    assert Store.open(store).modalities["audio"].width == 10
    project(tmp_path, 2000)
    disk.fill(50_000)
    done = elision(tmp_path, *prepare, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"elision: {store / 'audio.safetensors'}: {FULL}"
    assert "Traceback" not in done.stderr
    with pytest.raises(ElisionError, match=r"samples\.parquet does not exist"):
        Store.open(store)
    disk.free()
    assert elision(tmp_path, *prepare).returncode == 0
    assert Store.open(store).modalities["audio"].width == 2000


def test_a_full_log_stops_the_job_and_a_retry_works(disk, tmp_path):
    log = disk.folder / "log"
    disk.fill(leave=0)
    for code in (2, 0):
        with log.open("w") as file:
            done = elision(tmp_path, "--help", stdout=file, stderr=subprocess.STDOUT)
        assert done.returncode == code
        if code:
            disk.free()
    assert "prepare" in log.read_text()
