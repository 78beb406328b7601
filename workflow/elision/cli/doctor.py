"""What this machine has, and what does not work without each missing item."""

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from elision import compilers, devices
from elision.errors import ElisionError, plural


@dataclass(frozen=True)
class Finding:
    """One item that was looked for.

    Attributes
    ----------
    name : str
    found : str
        Version or description of the item; empty if the item is missing.
    prevents : str
        What does not work without the item.
    needed : bool
        Whether all work needs the item.
    """

    name: str
    found: str
    prevents: str
    needed: bool = False


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _python() -> str:
    return (
        platform.python_version() if (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) < (3, 13) else ""
    )


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return f"{torch.cuda.device_count()} x {', '.join(sorted(names))} (CUDA {torch.version.cuda})"
    return "Apple GPU (mps)" if torch.backends.mps.is_available() else ""


def _gpu_jobs(device: str, jobs_per_gpu: int) -> Callable[[], str]:
    def look() -> str:
        gpus = devices.count()
        settings = f"{plural(gpus, 'GPU')}, train.device: {device}, train.jobs_per_gpu: {jobs_per_gpu}"
        return f"{devices.places(device, gpus, jobs_per_gpu)} (resources: gpu; {settings})" if gpus else ""

    return look


def _compiler(device: str) -> Callable[[], str]:
    def look() -> str:
        on_gpu = devices.takes_gpu(device, devices.count())
        return "" if compilers.missing(on_gpu=on_gpu) else compilers.compiler() + (" and triton" if on_gpu else "")

    return look


def _codecs() -> str:
    import av

    wanted = {"h264": "r", "vp9": "r", "hevc": "r", "aac": "r", "opus": "r", "flac": "r", "mp3": "r"}
    there = sorted(name for name in wanted if name in av.codecs_available)
    return f"PyAV {av.__version__}, decodes {', '.join(there)}" if len(there) == len(wanted) else ""


def _encoder() -> str:
    import av

    return "libx264" if "libx264" in av.codecs_available else ""


def _text_encoder(name: str) -> Callable[[], str]:
    def look() -> str:
        from transformers import AutoTokenizer

        from elision.features.text import encoder_path, load_encoder_part

        offline = os.environ.get("HF_HUB_OFFLINE")
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            load_encoder_part(AutoTokenizer, name)
            return encoder_path(name)
        except ElisionError:
            return ""
        finally:
            if offline is None:
                del os.environ["HF_HUB_OFFLINE"]
            else:
                os.environ["HF_HUB_OFFLINE"] = offline

    return look


def _face_model() -> str:
    spec = importlib.util.find_spec("mediapipe")
    if spec is None:
        return ""
    model = (
        Path(spec.submodule_search_locations[0]) / "modules" / "face_landmark" / "face_landmark_with_attention.tflite"
    )
    return f"mediapipe {_package('mediapipe')}" if model.exists() else ""


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return f"{free:.0f} GiB free" if free >= 5 else ""


def _command(*command: str) -> Callable[[], str]:
    def look() -> str:
        if shutil.which(command[0]) is None:
            return ""
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        return output.stdout.strip().splitlines()[0] if output.returncode == 0 and output.stdout.strip() else ""

    return look


def examine(encoder: str, *, device: str = "auto", jobs_per_gpu: int = 1, compiled: bool = False) -> list[Finding]:
    """Look at this machine.

    Parameters
    ----------
    encoder : str
        Text encoder of the params.
    device : str
        As ``train.device``.
    jobs_per_gpu : int
        As ``train.jobs_per_gpu``.
    compiled : bool
        As ``train.compile``.
    """
    looks: list[tuple[str, Callable[[], str], str, bool]] = [
        ("Python 3.11 or 3.12", _python, "the whole package", True),
        ("PyTorch", lambda: _package("torch"), "training", True),
        ("GPU", _device, "fast training (on the CPU, training on a large dataset takes days)", False),
        (
            "number of jobs that share GPUs",
            _gpu_jobs(device, jobs_per_gpu),
            "jobs on GPUs (Snakemake counts GPUs with nvidia-smi)",
            False,
        ),
        ("C++ compiler", _compiler(device), "train.compile: true", compiled),
        ("video and audio decoding", _codecs, "datasets of clips", True),
        ("H.264 encoding", _encoder, "the demo dataset", False),
        ("speech synthesis (espeakng-loader)", lambda: _package("espeakng-loader"), "the demo dataset", False),
        (f"text encoder {encoder}", _text_encoder(encoder), "tokenisation, and every method that reads text", True),
        ("face model", _face_model, "vision features by the extractor mediapipe", False),
        (
            "py-feat",
            lambda: _package("py-feat"),
            "vision features by the extractor pyfeat, in this environment",
            False,
        ),
        ("5 GiB of disk", _disk, "storage of features and models", True),
        ("conda", _command("conda", "--version"), "snakemake --use-conda", False),
        ("Slurm", _command("sinfo", "--version"), "jobs on a Slurm cluster", False),
        ("git", _command("git", "--version"), "dvc repro", False),
    ]
    return [Finding(name, look(), prevents, needed) for name, look, prevents, needed in looks]
