import pytest
from workflow_project import CLASSES, SMALL, Project

pytestmark = pytest.mark.workflow


def test_a_thousand_jobs_are_planned_one_for_each_method_dataset_seed_and_fold(tmp_path):
    dataset = {"source": "demo", **CLASSES, "folds": {"by": "speaker", "count": 5}}
    variants = [{f"text-{number}": {"method": "text_only", "epochs": number}} for number in range(1, 9)]
    params = {
        **SMALL,
        "datasets": {"one": dataset, "two": {**dataset, "seed": 2}},
        "methods": [*variants, "mmin", "ramer"],
        "seeds": [1, 2, 3, 4, 5],
    }
    runs = 2 * 5 * 5
    once = (
        "datasets",
        "corruptions",
        "models",
        "predictions",
        "representations",
        "aggregate",
        "significance",
        "report",
    )
    assert Project(tmp_path, params).jobs() == {
        **dict.fromkeys(once, 1),
        **dict.fromkeys(("prepare_clips", "assemble", "align", "corrupt"), 2),
        "extract": 2 * 3 * SMALL["features"]["shards"],
        "merge": 2 * 3,
        "train": runs * (10 + 2),  # and the teacher of mmin, and the encoders by which ramer retrieves
        "index": runs,
        "evaluate": (runs - 2) * 10,
        "evaluate_first": 2 * 10,
    }
