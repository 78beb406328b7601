"""Kills at random moments of every stage: nothing is lost but the jobs in hand, and the end is the same."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from workflow_project import METRICS, TINY, Repository, Warm, write_arrays

pytestmark = [pytest.mark.workflow, pytest.mark.orchestration]

# About how many seconds a job of each stage takes, from its first moment to its last.
STAGES = {
    "prepare": 1,
    "align": 1,
    "encode": 1,
    "corrupt": 1,
    "train": 4,
    "evaluate": 4,
    "collect": 0.5,
    "aggregate": 1,
    "significance": 2,
    "report": 10,
}
KILLS = 3  # in each
VICTIMS = ("a job", "Snakemake", "the command", "everything")
# What a user types after any of the kills, and nothing else.
LINES = ("exec dvc repro", "elision adopt && exec snakemake --cores 1")


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def verb(process: psutil.Process) -> str:
    """Name the verb of the workflow that a process runs; empty, if it runs none."""
    line = words(process)
    return line[3] if line[1:3] == ["-m", "elision"] and line[3] != "adopt" else ""


def runs(program: str, process: psutil.Process) -> bool:
    return any(Path(word).name == program for word in words(process)[:3])


def runs_in(folder: Path, process: psutil.Process) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False


def kill(root: psutil.Process, victim: str) -> list[str]:
    """Kill a victim; returns the verbs of the jobs that ran: if none did, nobody is killed."""
    tree = [root, *root.children(recursive=True)]
    jobs = [process for process in tree if verb(process)]
    names = [verb(process) for process in jobs]
    chosen = {
        "a job": jobs[:1],
        "Snakemake": [process for process in tree if runs("snakemake", process)],
        "the command": [root, *(process for process in tree if runs("dvc", process))],
        "everything": tree,
    }[victim]
    for process in chosen if jobs else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    return names


def made(folder: Path) -> dict[Path, int]:
    """Time of the file that completes a job, of every job; DVC gives a new one to those that are not in a folder."""
    results = folder / "results"
    names = (
        "samples.parquet",
        "alignment.safetensors",
        "first.safetensors",
        "run.json",
        "seed-*.safetensors",  # after the predictions
    )
    return {path: path.stat().st_mtime_ns for name in names for path in results.rglob(name)}


def test_kills_at_random_moments_change_nothing(tmp_path):
    undisturbed = Warm(tmp_path / "undisturbed", TINY)
    write_arrays(undisturbed.folder / "data" / "first")
    undisturbed.snakemake("--cores", "2")

    project = Repository.of_project(tmp_path / "disturbed")
    draw = random.Random(1111)
    left, hit, rounds = Counter(dict.fromkeys(STAGES, KILLS)), set(), 0
    victims = draw.sample(VICTIMS * 8, left.total())
    before, in_hand = {}, 0
    while left.total():
        rounds += 1
        assert rounds < 3 * len(victims), left
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                draw.choices(LINES, weights=(1, 3))[0],  # DVC starts Snakemake five times
                shell=True,
                cwd=project.folder,
                env=project.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        stage, names, at = "", [], 0.0
        while process.poll() is None and not names:
            root = psutil.Process(process.pid)
            running = [name for name in map(verb, root.children(recursive=True)) if left[name]]
            if running and not stage:
                stage = running[0]
                at = time.monotonic() + draw.uniform(0, STAGES[stage])
            if stage and time.monotonic() > at:
                names = kill(root, victims[left.total() - 1])
            time.sleep(0.1)
        process.wait()
        # What was not killed goes on; DVC and `elision adopt` say that it has to be waited for.
        while any(
            runs(program, other) and runs_in(project.folder, other)
            for other in psutil.process_iter()
            for program in ("dvc", "snakemake", "elision")
        ):
            time.sleep(0.2)
        after = made(project.folder)
        again = [path for path, time_of in before.items() if after.get(path) != time_of]
        # One that ended as Snakemake died is in hand as well: Snakemake has not noted its end.
        assert len(again) <= (os.cpu_count() if in_hand else 0), f"made again: {again}"
        if names:
            left[stage] -= 1
            hit |= set(names)
            before, in_hand = after, len(names)
            continue
        assert process.returncode == 0, (tmp_path / "log").read_text()[-3000:]
        assert project.metrics() == {name: (undisturbed.folder / "results" / name).read_bytes() for name in METRICS}
        for name in ("results", ".snakemake"):
            shutil.rmtree(project.folder / name)
        (project.folder / "dvc.lock").unlink(missing_ok=True)
        before, in_hand = {}, 0
    project.dvc("repro")
    assert project.metrics() == {name: (undisturbed.folder / "results" / name).read_bytes() for name in METRICS}
    print(f"{len(victims)} kills in {rounds} runs: {dict(Counter(victims))}, while these ran: {sorted(hit)}")
    assert len(hit) >= len(STAGES) - 2, hit
