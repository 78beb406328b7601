"""What each verb imports, as its log tells: a job starts fast if it loads no library that it does not use."""

import pytest

pytestmark = pytest.mark.workflow

TABLES = {"pandas", "pyarrow"}
NETWORKS = {"torch", "transformers"}
SIGNALS = {"librosa", "mediapipe", "numba"}
DRAWING = {"matplotlib", "sklearn"}
UNUSED = {
    # Hyperparameters of methods say how many samples a dataset must have, and are classes of PyTorch's modules.
    "prepare/demo": {"torch._dynamo", "transformers"} | DRAWING | {"librosa", "mediapipe"},
    "extract/demo.text.0": NETWORKS | SIGNALS | DRAWING,
    "extract/demo.audio.0": NETWORKS | DRAWING | {"mediapipe"},
    "extract/demo.vision.0": NETWORKS | {"librosa", "numba", "sklearn"},
    **dict.fromkeys(
        (
            *("merge/demo.text", "merge/demo.audio", "merge/demo.vision", "assemble/demo", "align/demo"),
            *("corrupt/demo", "aggregate", "significance", "collect/datasets"),
        ),
        NETWORKS | SIGNALS | DRAWING,
    ),
    **dict.fromkeys(
        ("collect/corruptions", "collect/models", "collect/predictions", "collect/representations"),
        NETWORKS | SIGNALS | DRAWING | TABLES,
    ),
    # A method without a text encoder and without an optimizer.
    "train/demo.majority.seed-1": {"torch._dynamo", "transformers"} | SIGNALS | DRAWING,
    "evaluate/demo.majority.seed-1": {"torch._dynamo", "transformers"} | SIGNALS | DRAWING,
    "train/demo.self_mm-short.seed-1": SIGNALS | DRAWING,
    "evaluate/demo.self_mm-short.seed-1": SIGNALS | DRAWING,
    "report": NETWORKS | SIGNALS,
}


@pytest.mark.parametrize("job", UNUSED)
def test_a_verb_imports_no_library_that_it_does_not_use(small, job):
    log = (small.folder / "results" / "logs" / f"{job}.log").read_text()
    # import time: self [us] | cumulative | imported package
    imported = {line.split("|")[-1].strip() for line in log.splitlines() if line.startswith("import time:")}
    assert {"elision.cli", "numpy"} < imported
    assert imported & UNUSED[job] == set()


def test_every_job_is_looked_at(small):
    logs = small.folder / "results" / "logs"
    assert {path.relative_to(logs).with_suffix("").as_posix() for path in logs.rglob("*.log")} == set(UNUSED)
