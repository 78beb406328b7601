"""What ``train.compile`` needs: a C++ compiler and the headers of Python, and Triton for a GPU."""

import importlib.util
import os
import platform
import shlex
import sysconfig
from pathlib import Path
from shutil import which

from elision.errors import ElisionError

_ON_GPU = "triton"  # conda brings it with PyTorch for GPUs


def compiler() -> str:
    """Name the C++ compiler that PyTorch calls: that of the variable ``CXX``, or that of the operating system."""
    usual = "clang++" if platform.system() == "Darwin" else "g++"
    return (shlex.split(os.environ.get("CXX", "")) or [usual])[0]


def missing(*, on_gpu: bool) -> list[str]:
    """Return what this machine lacks, as words for a message.

    Parameters
    ----------
    on_gpu : bool
        Whether the training runs on a GPU.
    """
    headers = Path(sysconfig.get_path("include"), "Python.h")
    wanted = {
        f"the C++ compiler {compiler()}": which(compiler()),
        f"the headers of Python ({headers})": headers.exists(),
        f"the package {_ON_GPU}": not on_gpu or importlib.util.find_spec(_ON_GPU),
    }
    return [words for words, found in wanted.items() if not found]


def require(*, on_gpu: bool) -> None:
    """Refuse ``train.compile: true`` where something is missing.

    Raises
    ------
    ElisionError
    """
    if lacking := missing(on_gpu=on_gpu):
        raise ElisionError(
            f"train.compile: true needs {' and '.join(lacking)}, which this machine does not have; install what is "
            "missing (Debian: apt install g++ python3-dev), or write compile: false"
        )
