"""The workflow on a real Slurm of two emulated nodes, and what the profiles of clusters plan."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from workflow_project import REPOSITORY, SMALL, TINY, Project, Repository, Warm, changed

pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the executors: pip install -e .[cluster]")

pytestmark = [pytest.mark.workflow, pytest.mark.orchestration]

PROFILES = REPOSITORY / "workflow" / "profiles"
SCRIPTS = Path(__file__).parent / "slurm"
# The cluster of the tests has no accounting, and they do not wait for what is over.
SLURM_SITE = {
    "# slurm-status-command: squeue": "slurm-status-command: squeue",
    "slurm-init-seconds-before-status-checks: 15": "slurm-init-seconds-before-status-checks: 1",
    "jobs: 100": "jobs: 4\nseconds-between-status-checks: 1",
}
# The commands of Slurm in place of those of OpenPBS.
GENERIC_SITE = {
    "qsub -q {resources.queue} -l select=1:ncpus={threads}:ngpus={resources.gpu}:mem={resources.mem_mb}mb": (
        "sbatch --parsable --partition={resources.queue} --ntasks=1 --cpus-per-task={threads} --mem={resources.mem_mb}"
        " --gres=gpu:{resources.gpu}"
    ),
    "-l walltime={resources.runtime}:00": "--time={resources.runtime}",
    "workflow/profiles/generic/status.sh": str(SCRIPTS / "status.sh"),
    "qdel": "scancel",
    "queue: batch": "queue: cpu",
    "jobs: 100": "jobs: 4\nseconds-between-status-checks: 1",
}

Job = dict[str, str]


def queue() -> list[Job]:
    """What Slurm knows of all jobs that were ever submitted, the first one first."""
    command = ["scontrol", "--oneliner", "show", "jobs"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return sorted((job for job in jobs if "JobId" in job), key=lambda job: int(job["JobId"]))


def jobs_of(rule: str, jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job["Comment"].startswith(f"rule_{rule}")]


def rules(jobs: list[Job]) -> Counter:
    return Counter(re.split("_wildcards|$", job["Comment"].removeprefix("rule_"))[0] for job in jobs)


def site(name: str, folder: Path, lines: dict[str, str]) -> Path:
    """Copy a profile and change lines of it, as a site would."""
    profile = folder / name
    shutil.copytree(PROFILES / name, profile)
    text = (profile / "config.yaml").read_text()
    for line, own in lines.items():
        assert line in text, line
        text = text.replace(line, own)
    (profile / "config.yaml").write_text(text)
    return profile


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 1800
    while not condition():
        assert process.poll() is None, "was over too early"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    started = subprocess.run([SCRIPTS / "start.sh", folder], capture_output=True, text=True, check=False)
    if started.returncode:
        shutil.rmtree(folder)
        if started.stderr.startswith("no Slurm is started"):
            pytest.skip(started.stderr.strip())
        pytest.fail(started.stderr)
    yield folder
    subprocess.run([SCRIPTS / "stop.sh", folder], check=True)
    shutil.rmtree(folder)


class Finished(NamedTuple):
    """A run through Slurm in which a job was killed and a node died."""

    project: Project
    profile: Path
    jobs: list[Job]
    dead: str


@pytest.fixture(scope="module")
def finished(slurm, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("slurm")
    project = Project(folder / "project", SMALL)
    profile = site("slurm", folder, SLURM_SITE)
    process = project.start("--workflow-profile", str(profile))
    try:
        wait_for(lambda: any(job["JobState"] == "RUNNING" for job in queue()), process)
        subprocess.run(["scancel", queue()[0]["JobId"]], check=True)

        state = project.folder / "results" / "models" / "demo" / "self_mm-short" / "seed-1" / "state.pt"
        wait_for(state.exists, process)
        (training,) = jobs_of("train_wildcards_demo_self_mm-short", queue())
        subprocess.run([SCRIPTS / "kill-node.sh", slurm, training["NodeList"]], check=True)
        assert not state.with_name("model.safetensors").exists(), "was over too early"

        code = process.wait(timeout=1800)
        assert code == 0, "".join(path.read_text() for path in project.folder.rglob("*.snakemake.log"))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return Finished(project, profile, queue(), training["NodeList"])


def test_a_run_on_slurm_ends_in_the_bytes_of_a_local_run(finished, small):
    for name in (
        "datasets/demo/samples.parquet",
        "datasets/demo/vision.safetensors",
        "corruptions/demo.safetensors",
        "predictions/demo/self_mm-short/seed-1.parquet",
        "metrics.parquet",
        "metrics.json",
        "intervals.parquet",
        "tables/random_missing.csv",
    ):
        assert (finished.project.folder / "results" / name).read_bytes() == (
            small.folder / "results" / name
        ).read_bytes(), name


def test_jobs_run_on_both_nodes_and_afterwards_there_is_nothing_to_do(finished):
    ended = {job["NodeList"] for job in finished.jobs if job["JobState"] == "COMPLETED"}
    assert ended | {finished.dead} == {"n1", "n2"}
    output = finished.project.snakemake("-n", "--workflow-profile", str(finished.profile))
    assert "Nothing to be done" in output


def test_jobs_on_a_gpu_are_in_its_partition_and_have_one(finished):
    on_a_gpu = [job for job in finished.jobs if job["Partition"] == "gpu"]
    assert rules(on_a_gpu) == {"train": 2, "evaluate_first": 2}
    assert on_a_gpu == [job for job in finished.jobs if job.get("TresPerJob") == "gres:gpu:1"]


def test_a_killed_job_is_tried_again_with_more_memory(finished):
    first, second = jobs_of("prepare_clips", finished.jobs)
    assert (first["JobState"], first["MinMemoryNode"]) == ("CANCELLED", "4000M")
    assert (second["JobState"], second["MinMemoryNode"]) == ("COMPLETED", "8000M")


def test_a_training_whose_node_dies_goes_on_from_its_checkpoint_on_another_node(finished, small):
    (training,) = jobs_of("train_wildcards_demo_self_mm-short", finished.jobs)
    assert (training["JobState"], training["Restarts"]) == ("COMPLETED", "1")
    assert {training["NodeList"], finished.dead} == {"n1", "n2"}
    log = finished.project.folder / "results" / "logs" / "train" / "demo.self_mm-short.seed-1.log"
    assert "continues after epoch" in log.read_text()
    for name in ("model.safetensors", "history.csv"):
        path = Path("results", "models", "demo", "self_mm-short", "seed-1", name)
        assert (finished.project.folder / path).read_bytes() == (small.folder / path).read_bytes(), name


def test_dvc_repro_runs_its_jobs_on_slurm(slurm, tmp_path, monkeypatch):
    clone = Repository.of_project(tmp_path / "clone")
    shutil.rmtree(clone.folder / "workflow" / "profiles" / "slurm")
    site("slurm", clone.folder / "workflow" / "profiles", SLURM_SITE)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "workflow/profiles/slurm")
    clone.write(changed(TINY, methods=["majority"]))
    before = len(queue())
    clone.dvc("repro")
    steps = ("prepare_sequences", "align", "corrupt", "train", "evaluate_first")
    assert rules(queue()[before:]) == dict.fromkeys((*steps, "aggregate", "significance", "report"), 1)
    assert "Data and pipelines are up to date." in clone.dvc("repro")


def test_jobs_run_through_the_commands_of_another_batch_system(slurm, small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "project")
    project = Project(tmp_path / "project", changed(statistics={"resamples": 200}))
    profile = site("generic", tmp_path, GENERIC_SITE)
    before = len(queue())
    project.snakemake("--workflow-profile", str(profile))
    assert [job["JobState"] for job in queue()[before:]] == ["COMPLETED", "COMPLETED"]
    assert "Nothing to be done" in project.snakemake("-n", "--workflow-profile", str(profile))


def planned(folder: Path, *arguments: str) -> dict[str, set[str]]:
    """What every job of a dry run asks for, by its output."""
    plan = Warm(folder, SMALL).snakemake("-n", *arguments)
    jobs = [job.split("\n\n")[0] for job in re.split(r"^(?:local)?rule ", plan, flags=re.MULTILINE)[1:]]
    asked = {re.search("output: (.*)", job)[1]: re.search("resources: (.*)", job) for job in jobs if "output: " in job}
    return {output: set(found[1].split(", ")) for output, found in asked.items() if not output.endswith("MANIFEST")}


@pytest.fixture(scope="module")
def on_one_machine(tmp_path_factory) -> dict[str, set[str]]:
    return planned(tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_a_cluster_plans_the_jobs_of_one_machine_and_gives_gpus_to_those_that_use_them(name, on_one_machine, tmp_path):
    on_cluster = planned(tmp_path, "--workflow-profile", str(PROFILES / name))
    assert len(on_one_machine) == 17
    assert on_cluster.keys() == on_one_machine.keys()
    for output, asked in on_cluster.items():
        folder = output.split("/")[1]
        assert ("gpu=1" in asked) == (folder in ("models", "predictions", "representations")), output
        assert any(resource.startswith("mem_mb=") for resource in asked)
        assert any(resource.startswith("runtime=") for resource in asked)


def test_kubernetes_is_given_memory_and_gpus_as_limits(tmp_path):
    (tmp_path / "kubectl").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "kubectl").chmod(0o755)
    names = {"IMAGE": "python:3.11", "CLAIM": "elision", "MOUNT": "/elision"}
    done = subprocess.run(
        [PROFILES / "kubernetes" / "submit.sh", "2", "8000", "60", "1", "/elision/job.sh"],
        capture_output=True,
        text=True,
        env={**os.environ, **names, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    job = yaml.safe_load(done.stdout)["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert job["activeDeadlineSeconds"] == 3600
    assert container["command"] == ["bash", "/elision/job.sh"]
    assert container["resources"]["requests"] == {"cpu": 2, "memory": "8000M"}
    assert container["resources"]["limits"] == {"memory": "8000M", "nvidia.com/gpu": 1}
    assert job["template"]["spec"]["volumes"] == [{"name": "shared", "persistentVolumeClaim": {"claimName": "elision"}}]
