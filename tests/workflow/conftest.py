"""One finished run of the workflow for all tests that only look."""

import os
import shutil

import pytest
from filelock import FileLock
from workflow_project import SMALL, Project


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Project:
    """A finished run on two cores; tests may change its params.yaml but must not run jobs in it.

    Workers make it once, and each has a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "small.lock"):
        if not (shared / "small").exists():
            made = Project(shared / "making", SMALL)
            # Jobs write what they import to their logs.
            made.snakemake("--cores", "2", PYTHONPROFILEIMPORTTIME="1")
            made.folder.rename(shared / "small")
    folder = tmp_path_factory.mktemp("workflow") / "small"
    shutil.copytree(shared / "small", folder)
    return Project(folder, SMALL)
