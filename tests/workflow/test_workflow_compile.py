"""What train.compile needs is looked for before any work starts."""

import subprocess

import pytest
from workflow_project import TINY, Project, changed, write_arrays


@pytest.mark.workflow
def test_planning_stops_without_a_compiler(tmp_path):
    project = Project(tmp_path / "project", changed(TINY, train={"compile": True}))
    write_arrays(project.folder / "data" / "first")
    environment = {**project.environment(), "CXX": "no-such-compiler"}
    command = project.command("-n", "--cores", "1")
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "elision: train.compile: true needs the C++ compiler no-such-compiler, which this" in done.stderr
    assert "compile: false" in done.stderr
