"""Data travel through remotes of DVC: a local folder, and S3 over HTTP."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from workflow_project import REPOSITORY

boto3 = pytest.importorskip("boto3", reason="needs S3: pip install -c constraints.txt -e .[dev,s3]")
pytest.importorskip("dvc_s3", reason="needs S3: pip install -c constraints.txt -e .[dev,s3]")

BUCKET = "elision"
SIZES = {"text.safetensors": 400_000, "audio.safetensors": 3_000_000, "folds/samples.parquet": 1_000}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(folder: Path, *command: str, fails: bool = False) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # One attempt: a server that is not there is not asked again and again.
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1"}
    environment = {**os.environ, **keys, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1", "PATH": path}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert bool(done.returncode) == fails, (done.stdout + done.stderr)[-6000:]
    return done.stdout + done.stderr


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)


def dvc(folder: Path, *arguments: str, fails: bool = False) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments, fails=fails)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A server of S3 with one bucket; its client."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    with (tmp_path_factory.mktemp("s3") / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(600):
                try:
                    urlopen(url, timeout=5).close()
                    break
                except URLError:
                    assert server.poll() is None, "the server of S3 did not start"
                    time.sleep(0.1)
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
            client = boto3.client("s3", endpoint_url=url, **keys)
            client.create_bucket(Bucket=BUCKET)
            yield client
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def project(tmp_path) -> Path:
    """A commit with files that DVC tracks."""
    folder = tmp_path / "project"
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "data/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        path = folder / "data" / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.bytes(size))
    git(folder, "init", "-q")
    dvc(folder, "add", "data/mine")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def share(project: Path, url: str, endpoint: str = "") -> Path:
    """Push to a new default remote, and pull into a clone; returns the clone."""
    dvc(project, "remote", "add", "--default", "shared", url)
    if endpoint:
        dvc(project, "remote", "modify", "shared", "endpointurl", endpoint)
    git(project, "commit", "-qam", "remote")
    dvc(project, "push")
    clone = project.with_name("clone")
    git(project.parent, "clone", "-q", str(project), str(clone))
    assert not (clone / "data" / "mine").exists()
    dvc(clone, "pull")
    return clone


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_clone_pulls_from_a_folder_what_was_pushed_to_it(project):
    remote = project.with_name("remote")
    clone = share(project, str(remote))
    assert files(clone / "data" / "mine") == files(project / "data" / "mine")
    assert len(files(remote)) == len(SIZES) + 1  # and the list of the files
    assert "Data and pipelines are up to date." in dvc(clone, "status")
    assert git(clone, "status", "--short") == ""


def test_a_clone_pulls_from_s3_what_was_pushed_to_it(project, s3):
    clone = share(project, f"s3://{BUCKET}/dvc", s3.meta.endpoint_url)
    assert files(clone / "data" / "mine") == files(project / "data" / "mine")
    stored = {item["Size"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="dvc/")["Contents"]}
    assert len(stored) == len(SIZES) + 1  # and the list of the files
    assert stored > set(SIZES.values())
    assert "in sync" in dvc(clone, "status", "--cloud")


def test_a_wrong_bucket_or_server_is_named(project, s3):
    dvc(project, "remote", "add", "--default", "shared", "s3://no-such-bucket/dvc")
    dvc(project, "remote", "modify", "shared", "endpointurl", s3.meta.endpoint_url)
    assert "The specified bucket does not exist" in dvc(project, "push", fails=True)
    away = f"http://127.0.0.1:{free_port()}"
    dvc(project, "remote", "modify", "shared", "endpointurl", away)
    assert f'Could not connect to the endpoint URL: "{away}/' in dvc(project, "push", fails=True)
