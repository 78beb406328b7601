"""Fixtures that several floors share."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from elision.store import Store

REPOSITORY = Path(__file__).parent.parent

settings.register_profile("elision", deadline=None)  # a timing is never a test
settings.load_profile("elision")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that none is left at the end.

    That is kills and clusters, then whole workflows, a file of few tests before one of many, because those are long;
    and then the files of other tests, those of most tests first.
    """
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)

        def place(item: pytest.Item) -> tuple[bool, bool, int, Path]:
            other = item.path.parent.name != "workflow"
            return "orchestration" not in item.keywords, other, (-1 if other else 1) * tests[item.path], item.path

        items.sort(key=place)


@pytest.fixture
def real_data() -> Path:
    """Folder of real data; the test is skipped where there is none."""
    folder = os.environ.get("ELISION_REAL_DATA")
    if not folder:
        pytest.skip("ELISION_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture
def mount() -> Iterator[Callable[[Path, str], None]]:
    """Mount a small file system in memory, of a size such as "1m", at a folder; only root can, so it may skip."""
    mounted = []

    def mount_at(folder: Path, size: str) -> None:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs root, who may mount a small file system")
        mounted.append(folder)

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def store() -> "Store":
    """A small store: 24 samples, ragged lengths, a sample without audio, one without text, frames without a face."""
    # Here, because pandas and PyArrow take seconds, and most tests of methods have no store.
    import pandas as pd

    from elision.store import Header, Sequences, Store

    random = np.random.default_rng(7)
    count = 24
    labels = np.round(random.uniform(-3, 3, count), 1)
    lengths = {name: random.integers(3, 9, count) for name in ("text", "audio", "vision")}
    lengths["audio"][5] = 0
    lengths["text"][6] = 0
    text = []
    for length in lengths["text"]:
        ids = random.integers(1000, 2000, length).astype(np.int32)
        if length:
            ids[0], ids[-1] = 101, 102
        text.append(ids)
    audio = [random.normal(5, 2, (n, 4)).astype(np.float32) for n in lengths["audio"]]
    vision = [random.normal(-1, 3, (n, 3)).astype(np.float32) for n in lengths["vision"]]
    vision[2][1] = np.nan
    samples = pd.DataFrame(
        {
            "id": [f"sample_{i}" for i in range(count)],
            "split": ["train"] * 12 + ["valid"] * 6 + ["test"] * 6,
            "label": labels,
            "text": "words",
            "speaker": "someone",
        }
    )
    special = {"unk": 100, "cls": 101, "sep": 102, "pad": 0}
    headers = {
        "text": Header(modality="text", length=9, extractor="minilm", settings=special),
        "audio": Header(modality="audio", length=9, extractor="test"),
        "vision": Header(modality="vision", length=10, extractor="test"),
    }
    sequences = {"text": text, "audio": audio, "vision": vision}
    modalities = {name: Sequences.of(sequences[name], headers[name]) for name in sequences}
    return Store(samples, modalities, {"data": "fixture", "modalities": list(modalities)})
