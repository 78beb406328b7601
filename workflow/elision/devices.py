"""The GPUs of this machine, and a lease on one of them for every job that uses one.

Snakemake counts GPUs but picks none. A job that computes on a GPU locks a file that stands for it; the operating system
drops the lock when the process ends, in whatever way it does.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from filelock import FileLock, Timeout

from elision.errors import plural

VARIABLE = "CUDA_VISIBLE_DEVICES"
# Not TMPDIR or XDG_RUNTIME_DIR: they can differ between jobs, which would then not see each other's locks.
FOLDER = Path("/tmp")
_WAIT = 1.0  # seconds between two looks for a free GPU


def visible() -> dict[str, str]:
    """Find the GPUs that this process may use, without CUDA.

    They are those that ``nvidia-smi`` lists, or, of these, those that ``CUDA_VISIBLE_DEVICES`` names. A GPU that is
    divided (MIG) counts as its parts.

    Returns
    -------
    devices : dict of str to str
        The UUID of each, by the name that ``CUDA_VISIBLE_DEVICES`` gives it: a number, or the UUID again.
    """
    listed = _listed()
    names = os.environ.get(VARIABLE)
    if names is None:
        return {uuid: uuid for uuid in listed}
    devices = {}
    for name in map(str.strip, names.split(",")):
        matches = [uuid for k, uuid in enumerate(listed) if name in (str(k), uuid)]
        if not matches:
            break  # CUDA, too, does not see what stands after a name that it does not know
        devices[name] = matches[0]
    return devices


def count() -> int:
    """Count the GPUs that this process may use."""
    return len(visible())


def takes_gpu(device: str, gpus: int) -> bool:
    """Say whether jobs are planned for a GPU: the device names one, or is ``auto`` and there are some."""
    return device.startswith("cuda") or (device == "auto" and gpus > 0)


def places(device: str, gpus: int, jobs_per_gpu: int) -> int:
    """Return how many jobs may compute on GPUs at one time.

    Parameters
    ----------
    device : str
        As ``train.device``.
    gpus : int
        GPUs that there are.
    jobs_per_gpu : int
        As ``train.jobs_per_gpu``.
    """
    return (1 if device.startswith("cuda:") else gpus) * jobs_per_gpu


def _listed() -> list[str]:
    """Return the UUIDs of all GPUs of this machine, in the order of their numbers."""
    if which("nvidia-smi") is None:
        return []
    output = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    uuids: list[str] = []
    for uuid in re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", output):
        if uuid.startswith("MIG") and uuids and uuids[-1].startswith("GPU"):
            uuids.pop()  # the divided GPU is listed before its parts
        uuids.append(uuid)
    return uuids


@contextmanager
def lease(device: str, *, jobs_per_gpu: int) -> Iterator[str | None]:
    """Use one GPU alone: inside the block, ``CUDA_VISIBLE_DEVICES`` names no other.

    The block must begin before this process first asks CUDA for GPUs. The GPU with the most free places is taken; where
    every place is taken, this waits. Locks hold among the processes of one user on one machine, whatever folder they
    work in.

    Nothing is leased for the devices ``cpu``, ``mps`` and ``cuda:N``, without a GPU, and where ``CUDA_VISIBLE_DEVICES``
    names one GPU already: then a scheduler, or the user, has chosen.

    Parameters
    ----------
    device : str
        As ``train.device``.
    jobs_per_gpu : int
        Places of every GPU.

    Yields
    ------
    name : str or None
        The GPU, as ``CUDA_VISIBLE_DEVICES`` names it; None where nothing is leased.
    """
    devices = visible() if device in ("auto", "cuda") else {}
    before = os.environ.get(VARIABLE)
    if not devices or (before is not None and len(devices) == 1):
        yield None
        return
    taken = _take(devices, jobs_per_gpu)
    if taken is None:
        places = f"{plural(len(devices), 'GPU')}, {plural(jobs_per_gpu, 'job')} on each (train.jobs_per_gpu)"
        print(f"waiting for a GPU: other jobs use all of them ({places})", flush=True)
    while taken is None:
        time.sleep(_WAIT)
        taken = _take(devices, jobs_per_gpu)
    name, lock = taken
    os.environ[VARIABLE] = name
    try:
        yield name
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        lock.release()


def _take(devices: dict[str, str], jobs_per_gpu: int) -> tuple[str, FileLock] | None:
    """Lock a place of the GPU with the most free ones; None, if there is none."""
    folder = FOLDER / f"elision-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # One process at a time, for it locks every free place for a moment.
    with FileLock(folder / "choosing.lock", fallback_to_soft=False):
        free = {
            name: list(filter(None, (_locked(folder / f"{uuid}.{k}.lock") for k in range(jobs_per_gpu))))
            for name, uuid in devices.items()
        }
        name = max(free, key=lambda name: len(free[name]))
        chosen = free[name][0] if free[name] else None
        for lock in (lock for locks in free.values() for lock in locks if lock is not chosen):
            lock.release()
    return (name, chosen) if chosen else None


def _locked(path: Path) -> FileLock | None:
    """Lock a file, if nobody else has."""
    lock = FileLock(path, fallback_to_soft=False)  # a lock that is a mere file would outlive a killed process
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
