"""What verbs and plans import, as they tell: they start fast if they load no library that they do not use."""

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


def listed(text: str) -> set[str]:
    """Names of the modules that Python says it imports."""
    # import time: self [us] | cumulative | imported package
    return {line.split("|")[-1].strip() for line in text.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("job", UNUSED)
def test_a_verb_imports_no_library_that_it_does_not_use(small, job):
    imported = listed((small.folder / "results" / "logs" / f"{job}.log").read_text())
    assert {"elision.cli", "numpy"} < imported
    assert imported & UNUSED[job] == set()


def test_planning_with_nothing_to_do_imports_no_library_that_only_jobs_use(small):
    said = small.snakemake("-n", "--cores", "1", PYTHONPROFILEIMPORTTIME="1")
    assert "Nothing to be done" in said
    imported = listed(said)
    assert "elision.provenance.recipe" in imported
    assert imported & (NETWORKS | SIGNALS | DRAWING | {"rich.progress"}) == set()


def test_every_job_is_looked_at(small):
    logs = small.folder / "results" / "logs"
    assert {path.relative_to(logs).with_suffix("").as_posix() for path in logs.rglob("*.log")} == set(UNUSED)
