import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workflow_project import REPOSITORY, SMALL

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A commit of the project as it stands, with small params."""
    folder = tmp_path_factory.mktemp("dvc") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    for arguments in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "start"),
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key not in ("ELISION_PARAMS", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environment, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_dvc_repro_works_from_a_clean_clone_and_then_has_nothing_to_do(clone, small):
    dvc(clone, "repro")
    for name in ("metrics.parquet", "metrics.json", "tables/random_missing.csv"):
        assert (clone / "results" / name).read_bytes() == (small.folder / "results" / name).read_bytes(), name
    changed = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True).stdout
    assert changed.split() == ["??", "dvc.lock"]

    lock = (clone / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date." in dvc(clone, "repro")
    assert (clone / "dvc.lock").read_bytes() == lock
    assert "Data and pipelines are up to date." in dvc(clone, "status")
    assert "self_mm-short" in dvc(clone, "metrics", "show", "--json")
