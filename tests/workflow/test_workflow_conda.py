"""The workflow in environments of conda: a real solver, real linking and activation, on a channel of what is here."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name
from workflow_project import REPOSITORY, SMALL, changed

from environments import ENVIRONMENTS, document, held

pytest.importorskip("rattler", reason="needs a solver: pip install -e .[dev]")

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.orchestration,
    pytest.mark.conda,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the channel is for Linux on x86-64"
    ),
]

HERE = Path(__file__).parent
DOCS = (REPOSITORY / "docs" / "conda.md").read_text()
PARAMS = changed(SMALL, methods=["majority", "text_only"], corruption={"random": [0.0, 0.5]}, train={"epochs": 1})
MANIFEST = "results/datasets/MANIFEST"
# As long as those of users, so that what has little room for the path of an environment fails here.
FOLDER = "a-project-with-" + "a-long-name-" * 5
LOOK = """
import importlib.metadata, importlib.util, json, sys, elision
names = sorted(found.name for found in importlib.metadata.distributions())
print(json.dumps({"path": sys.path, "prefix": sys.base_prefix, "elision": elision.__file__, "distributions": names}))
"""
# Variables of the tests that jobs must not see. The settings of pip are none of these.
HIDDEN = ("PYTHON", "VIRTUAL_ENV", "ELISION_", "SNAKEMAKE_", "CONDA_", "CUDA_")


class Checkout:
    """A copy of the project, in which one types commands with conda on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base, self.channels = folder / FOLDER, folder / "base", folder / "channels"
        shutil.copytree(
            REPOSITORY / "workflow",
            self.folder / "workflow",
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
        for name in ("envs", "profiles"):  # the profile shows the logs of jobs that fail
            shutil.copytree(REPOSITORY / name, self.folder / name)
        shutil.copy(REPOSITORY / "Snakefile", self.folder)
        self.write(PARAMS)
        (self.base / "bin").mkdir(parents=True)
        for name, text in {
            "conda": f"#!{sys.executable} -I\n" + (HERE / "conda" / "conda.py").read_text(),
            "activate": f'eval "$({self.base}/bin/conda shell.activate "$1")"\n',
        }.items():
            (self.base / "bin" / name).write_text(text)
            (self.base / "bin" / name).chmod(0o755)

    def write(self, params: dict) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def surroundings(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        path = [str(self.base / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return kept | {
            "PATH": os.pathsep.join(path),
            "PYTHONNOUSERSITE": "1",
            "CONDA_CHANNEL_ALIAS": self.channels.as_uri(),
            "CONDA_OVERRIDE_CUDA": "",  # as on a machine without a GPU
        }

    def in_environment(self, prefix: Path, program: str) -> dict:
        """Run a program as Snakemake runs jobs, and read the JSON that it prints."""
        activated = f"source {self.base}/bin/activate {prefix}; export PYTHONPATH={self.folder}/workflow"
        return json.loads(self.type(f"{activated}; python -c {shlex.quote(program)}"))

    def type(self, command: str, *, succeeds: bool = True) -> str:
        """Run a line of a shell and return what it says."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.surroundings(),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, said[-4000:]
        return said

    def environment(self, name: str) -> Path:
        """Return where Snakemake created an environment without a pin file."""
        [found] = {
            path.with_suffix("")
            for path in (self.folder / ".snakemake" / "conda").glob("*.yaml")
            if not path.with_suffix(".pin.txt").exists()
            and path.read_bytes() == (self.folder / "envs" / f"{name}.yaml").read_bytes()
        }
        return found


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Checkout]:
    """A copy of the project beside a channel; gigabytes, so all goes when the tests end."""
    folder = tmp_path_factory.mktemp("conda")
    checkout = Checkout(folder)
    subprocess.run(
        [sys.executable, HERE / "conda" / "channel.py", checkout.channels / "conda-forge"],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        check=True,
    )
    yield checkout
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ran(started) -> tuple[Checkout, str]:
    """The small demo, run by the command of the documentation, and what the run said."""
    return started, started.type("snakemake --cores 2 --use-conda")


def test_the_demo_goes_through_all_jobs_in_environments_of_conda(ran):
    checkout, said = ran
    created = re.findall(r"Environment for \S*envs/([\w-]+)\.yaml created", said)
    assert sorted(created) == ["data", "features", "report", "train-cpu"]
    done, of = re.findall(r"(\d+) of (\d+) steps \(100%\) done", said)[-1]
    assert int(done) == int(of) > 20
    assert "text_only" in (checkout.folder / "results" / "report.html").read_text()


def test_a_second_run_has_nothing_to_do(ran):
    checkout, _ = ran
    assert "Nothing to be done" in checkout.type("snakemake --cores 2 --use-conda")


@pytest.mark.parametrize("name", ["data", "features", "report", "train-cpu"])
def test_jobs_see_what_their_environment_holds_and_nothing_of_that_of_the_tests(ran, name):
    checkout, _ = ran
    prefix = checkout.environment(name)
    seen = checkout.in_environment(prefix, LOOK)
    assert Path(seen["prefix"]) == prefix
    assert Path(seen["elision"]).is_relative_to(checkout.folder)
    outside = [path for path in seen["path"] if path and not Path(path).is_relative_to(prefix)]
    assert outside == [str(checkout.folder / "workflow")]
    assert {canonicalize_name(found) for found in seen["distributions"]} == set(held(name)) | (
        {"pip"} if (ENVIRONMENTS / f"{name}.post-deploy.sh").exists() else set()
    )


def test_a_job_fails_without_a_package_that_the_tests_have(ran):
    checkout, _ = ran
    [package] = checkout.environment("report").glob("lib/python*/site-packages/psutil")
    package.rename(package.with_name("elsewhere"))
    said = checkout.type(f"snakemake --cores 2 --use-conda --force {MANIFEST}", succeeds=False)
    assert "No module named 'psutil'" in said
    package.with_name("elsewhere").rename(package)
    checkout.type(f"snakemake --cores 2 --use-conda {MANIFEST}")


def commands(section: str) -> list[str]:
    """Return the lines of a section of docs/conda.md that are to be typed."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)", text, re.MULTILINE)


def test_the_recipe_for_pin_files_makes_one_that_snakemake_installs(ran, tmp_path):
    checkout, _ = ran
    for command in commands("Pin files"):
        checkout.type(command.replace("/tmp/", f"{tmp_path}/"))
    [pins] = (checkout.folder / "envs").glob("*.pin.txt")
    assert pins.name == "report.linux-64.pin.txt"
    [keeping] = commands("What reruns")
    assert "Nothing to be done" in checkout.type(f"{keeping} -n")
    said = checkout.type(f"snakemake --cores 2 --use-conda {MANIFEST}")
    assert f"Using pinnings from {pins}" in said.replace("workflow/rules/../../", "")
    assert "1 of 1 steps (100%) done" in said
    [copied] = (checkout.folder / ".snakemake" / "conda").glob("*.pin.txt")
    prefix = copied.parent / copied.name.removesuffix(".pin.txt")
    assert checkout.type(f"conda list --explicit --md5 --prefix {prefix}") == pins.read_text()
    pins.unlink()


@pytest.mark.parametrize("name", ["data", "features", "report", "train-cpu"])
def test_what_conda_would_install_can_be_asked_for(started, name):
    [command] = commands("If conda cannot solve an environment")
    asked = document(name)["dependencies"]
    packages = started.type(command.replace("report", name)).split()[::2]
    assert {re.match(r"[\w-]+", line)[0] for line in asked} <= set(packages)


def test_the_environment_for_gpus_is_created_where_conda_is_told_of_cuda_alone(started):
    started.write(changed(PARAMS, train={"device": "cuda", "epochs": 1}))
    [command] = commands("CPU or GPU")
    cuda, _, snakemake = command.partition(" ")
    assert cuda.startswith("CONDA_OVERRIDE_CUDA=")
    assert "__cuda" in started.type(snakemake, succeeds=False)
    started.type(command)
    assert [*started.environment("train-gpu").glob("conda-meta/pytorch-gpu-*.json")]
    started.write(PARAMS)
