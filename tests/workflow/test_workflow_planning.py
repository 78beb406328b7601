import csv
import json
import shutil

import pytest
from workflow_project import CLASSES, REPOSITORY, SMALL, TINY, Warm, write_arrays

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
    assert Warm(tmp_path, params).jobs() == {
        **dict.fromkeys(once, 1),
        **dict.fromkeys(("prepare_clips", "assemble", "align", "encode", "corrupt"), 2),
        "extract": 2 * 3 * SMALL["features"]["shards"],
        "merge": 2 * 3,
        "train": runs * (10 + 2),  # and the teacher of mmin, and the encoders by which ramer retrieves
        "index": runs,
        "evaluate": (runs - 2) * 10,
        "evaluate_first": 2 * 10,
    }


def test_elision_plan_counts_what_snakemake_would_run_and_knows_former_times(tmp_path):
    for name in ("workflow", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    project = Warm(tmp_path, TINY)
    write_arrays(tmp_path / "data" / "first")

    def plan():
        done = project.elision("plan", "--json")
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        found = json.loads(done.stdout)
        return found, {row["rule"]: row["missing"] for row in found["rows"] if row["missing"]}

    found, missing = plan()
    assert missing == project.jobs()
    assert found["missing"] == found["jobs"] and found["seconds"] == 0
    measured = {"prepare_sequences", "align", "encode", "corrupt", "train", "evaluate_first"}
    measured |= {"aggregate", "significance", "report"}
    assert {row["rule"] for row in found["rows"] if row["unknown"]} == measured
    project.snakemake("--cores", "2")
    assert plan()[1] == {}
    project.write({**TINY, "seeds": [1, 2]})
    found, missing = plan()
    assert missing == project.jobs()
    assert (missing["train"], missing["evaluate"]) == (2, 2)
    assert found["unknown"] == 0 and found["seconds"] > 0


def test_clips_whose_names_hold_braces_quotes_or_new_lines_are_prepared_after_a_prepare_by_hand(tmp_path):
    """Braces are wildcards to Snakemake; and what was typed by hand is no checkout of DVC."""
    names = ["{a}.txt", "b{c}d.txt", 'e\'f "g".txt', "h\ni.txt", "%(j)s é.txt", "-k $l.txt"]
    for name in names:
        (tmp_path / name).write_text("words")
    rows = [[f"c{k}", name, str(k % 3), ("train", "valid", "test")[k % 3]] for k, name in enumerate(names)]
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "transcript", "label", "split"], *rows])
    project = Warm(tmp_path, {**SMALL, "datasets": {"mine": {"source": "clips", "folder": "."}}})
    assert project.elision("prepare", "--dataset", "mine").returncode == 0
    said = project.snakemake("--cores", "1", "results/datasets/mine/clips.parquet")
    assert "dvc" not in said and (tmp_path / "results/datasets/mine/clips.parquet").exists()
    log = (tmp_path / "results/logs/prepare/mine.log").read_text()
    assert "taken from results/unused; the same settings, code and data made it earlier" in log
