"""GPUs are faked by a program named nvidia-smi; holders of leases are real processes."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elision import devices
from elision.cli import doctor
from elision.devices import VARIABLE, lease, visible

REPOSITORY = Path(__file__).parent.parent

HOLD = """
import pathlib, sys, time
from elision import devices
devices.FOLDER = pathlib.Path(sys.argv[2])
with devices.lease("cuda", jobs_per_gpu=int(sys.argv[1])) as name:
    print(name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that gives the machine GPUs, or any output of ``nvidia-smi -L``."""
    monkeypatch.setattr(devices, "FOLDER", tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)

    def set_up(gpus):
        lines = gpus if isinstance(gpus, str) else "".join(f"GPU {k}: Fake (UUID: GPU-{k})\n" for k in range(gpus))
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}END\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return set_up


@pytest.fixture
def hold(machine):
    """Returns a function that starts a process, which asks for a lease and keeps it."""
    processes = []

    def start(jobs_per_gpu=1):
        command = [sys.executable, "-c", HOLD, str(jobs_per_gpu), str(devices.FOLDER)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def said(process):
    """Wait for the next line of a process: the GPU that it has, or that it waits for one."""
    return process.stdout.readline().strip()


def test_without_a_gpu_nothing_is_leased(machine):
    machine("")
    with lease("auto", jobs_per_gpu=1) as name:
        assert name is None
        assert VARIABLE not in os.environ


def test_a_lease_names_one_gpu_and_is_given_back(machine):
    machine(2)
    for _ in range(3):
        with lease("auto", jobs_per_gpu=1) as name:
            assert os.environ[VARIABLE] == name == "GPU-0"
        assert VARIABLE not in os.environ


def test_a_lease_is_given_back_after_an_error(machine):
    machine(1)
    with pytest.raises(ValueError, match="of the job"), lease("cuda", jobs_per_gpu=1):
        raise ValueError("of the job")
    with lease("cuda", jobs_per_gpu=1) as name:
        assert name == "GPU-0"


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:1"])
def test_a_device_that_is_chosen_needs_no_lease(machine, device):
    machine(2)
    with lease(device, jobs_per_gpu=1) as name:
        assert name is None
        assert VARIABLE not in os.environ


def test_jobs_spread_over_the_gpus_before_they_share_one(hold, machine):
    machine(3)
    names = [said(hold(2)) for _ in range(6)]
    assert sorted(names[:3]) == sorted(names[3:]) == ["GPU-0", "GPU-1", "GPU-2"]


def test_of_jobs_that_start_together_no_more_than_there_are_places_go_on(hold, machine):
    machine(2)
    processes = [hold(2) for _ in range(6)]
    lines = sorted(map(said, processes))
    assert lines[:4] == ["GPU-0", "GPU-0", "GPU-1", "GPU-1"]
    assert all(line.startswith("waiting for a GPU") for line in lines[4:])


def test_the_emptiest_gpu_is_taken(hold, machine):
    machine(2)
    # All have chosen before one ends, or the next would take its place.
    taken = {process: said(process) for process in [hold(3) for _ in range(4)]}
    for process, name in taken.items():
        if name == "GPU-1":
            process.kill()
            process.wait()
    assert [said(hold(3)) for _ in range(2)] == ["GPU-1", "GPU-1"]


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_job_waits_until_the_holder_dies_in_whatever_way(hold, machine, death):
    machine(1)
    holder = hold()
    assert said(holder) == "GPU-0"
    waiting = hold()
    assert said(waiting) == "waiting for a GPU: other jobs use all of them (1 GPU, 1 job on each (train.jobs_per_gpu))"
    assert waiting.poll() is None
    holder.send_signal(death)
    assert said(waiting) == "GPU-0"
    assert holder.wait() == -death


def test_only_the_gpus_that_are_visible_are_leased(hold, machine, monkeypatch):
    machine(4)
    monkeypatch.setenv(VARIABLE, "2,1")
    assert [said(hold()) for _ in range(2)] == ["2", "1"]
    monkeypatch.setenv(VARIABLE, "GPU-2,GPU-3")  # one that is taken under its number
    with lease("auto", jobs_per_gpu=1) as name:
        assert name == "GPU-3"
    assert os.environ[VARIABLE] == "GPU-2,GPU-3"


def test_a_gpu_that_a_scheduler_gave_is_used_without_a_lease(hold, machine, monkeypatch):
    machine(2)
    assert said(hold()) == "GPU-0"
    monkeypatch.setenv(VARIABLE, "0")
    with lease("auto", jobs_per_gpu=1) as name:
        assert name is None
        assert os.environ[VARIABLE] == "0"


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        (None, {"GPU-0": "GPU-0", "GPU-1": "GPU-1"}),
        ("", {}),
        ("-1", {}),
        ("NoDevFiles", {}),
        ("1", {"1": "GPU-1"}),
        ("1,-1,0", {"1": "GPU-1"}),
        ("GPU-1, 0", {"GPU-1": "GPU-1", "0": "GPU-0"}),
        ("0,7", {"0": "GPU-0"}),
    ],
)
def test_visible_gpus_are_read_as_cuda_reads_them(machine, monkeypatch, variable, found):
    machine(2)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    assert visible() == found
    assert devices.count() == len(found)


@pytest.mark.parametrize(
    ("device", "gpus", "takes"),
    [
        ("auto", 0, False),
        ("auto", 2, True),
        ("cuda", 0, True),
        ("cuda:1", 2, True),
        ("cpu", 2, False),
        ("mps", 2, False),
    ],
)
def test_a_job_takes_a_gpu_if_its_device_is_one(device, gpus, takes):
    assert devices.takes_gpu(device, gpus) is takes


def test_a_divided_gpu_counts_as_its_parts(machine):
    machine(
        "GPU 0: NVIDIA A100 (UUID: GPU-a)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-b)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-c)\n"
        "GPU 1: NVIDIA A100 (UUID: GPU-d)\n"
    )
    assert list(visible()) == ["MIG-b", "MIG-c", "GPU-d"]


def test_a_driver_that_fails_is_no_gpu(machine):
    machine("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n")
    assert devices.count() == 0


def test_the_verbs_of_the_rules_that_count_a_gpu_lease_one():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    with_gpu = (rule for rule in re.split(r"^ *rule\b", rules, flags=re.M)[1:] if re.search(r"\n +gpu=", rule))
    counted = {re.search(r"-m elision ([\w-]+)", rule)[1].replace("-", "_") for rule in with_gpu}
    verbs = ast.parse((REPOSITORY / "workflow" / "elision" / "cli" / "steps.py").read_text()).body
    leasing = {verb.name for verb in verbs if isinstance(verb, ast.FunctionDef) and _leases(verb)}
    assert leasing == counted == {"train", "tune", "index", "evaluate", "extract", "encode", "corrupt_clips"}


def _leases(verb: ast.FunctionDef) -> bool:
    """Whether a GPU is leased, by ``with`` or on a stack of contexts."""
    entered = [node.items[0].context_expr for node in ast.walk(verb) if isinstance(node, ast.With)]
    calls = [node for node in ast.walk(verb) if isinstance(node, ast.Call)]
    entered += [call.args[0] for call in calls if getattr(call.func, "attr", "") == "enter_context"]
    return any(".gpu(" in ast.unparse(each) for each in entered)


def test_the_doctor_tells_how_many_jobs_share_the_gpus(machine):
    machine(2)
    assert doctor._gpu_jobs("auto", 3)() == "6 (resources: gpu; 2 GPUs, train.device: auto, train.jobs_per_gpu: 3)"
    one = "3 (resources: gpu; 2 GPUs, train.device: cuda:1, train.jobs_per_gpu: 3)"
    assert doctor._gpu_jobs("cuda:1", 3)() == one
    machine("")
    assert doctor._gpu_jobs("auto", 3)() == ""
