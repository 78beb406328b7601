from pathlib import Path

import pytest


def make(folder: Path) -> dict:
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    return {"source": "demo", "clips": 12, "speakers": 3}
