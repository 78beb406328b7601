"""One finished run of the workflow for all tests that only look."""

import pytest
from workflow_project import SMALL, Project


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Project:
    """A finished run on two cores; tests may change its params.yaml but must not run jobs in it."""
    project = Project(tmp_path_factory.mktemp("workflow") / "small", SMALL)
    project.snakemake("--cores", "2")
    return project
