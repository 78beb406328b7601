"""Corrupted media through the whole workflow: extracted, evaluated and reported, and nothing trained again."""

import pandas as pd
import pytest
from workflow_project import SMALL, Project, changed

from elision.corruption.clips import CorruptedClips
from elision.store import Store, read_table

pytestmark = pytest.mark.workflow

CLEAN = changed(features={"shards": 2})
MEDIA = changed(CLEAN, corruption={"media": {"white_noise": [0, 1, 5], "black": [5], "truncation": [3]}})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("media") / "project", CLEAN)
    project.snakemake("--cores", "2", "models")
    project.write(MEDIA)
    return project


def test_corrupted_media_are_extracted_and_evaluated_and_nothing_is_trained_or_extracted_again(project):
    jobs = project.jobs()
    assert jobs["corrupt_media"] == 3 * 2
    assert jobs["merge_media"] == 3
    assert not set(jobs) & {"prepare_clips", "extract", "merge", "assemble", "align", "train"}, jobs
    results = project.folder / "results"
    weights = {path: path.stat().st_mtime_ns for path in (results / "models").rglob("model.safetensors")}
    project.snakemake("--cores", "2")
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert project.jobs() == {}

    clean = Store.open(results / "datasets" / "demo")
    made = CorruptedClips.read(results / "corruptions" / "demo" / "white_noise.safetensors")
    assert made.ids == clean.samples.loc[clean.samples["split"] == "test", "id"].tolist()
    assert (made.severities, made.modalities) == ([1, 5], ["audio"])
    measured, _ = read_table(results / "corruptions" / "demo" / "white_noise.parquet")
    snr = measured.groupby("severity")["snr"].mean()
    assert snr.loc[[1, 5]].tolist() == pytest.approx([20, -5], abs=0.5)
    dark, _ = read_table(results / "corruptions" / "demo" / "black.parquet")
    assert dark.groupby("severity")["faces"].mean().to_dict() == {0: pytest.approx(1, abs=0.1), 5: 0}

    name = next(iter(SMALL["methods"][1]))
    table = pd.read_parquet(results / "predictions" / "demo" / name / "seed-1.parquet")
    found = {key: rows["prediction"].tolist() for key, rows in table.groupby(["corruption", "level"])}
    assert found["white_noise", 0] == found["random", 0]
    for key in (("white_noise", 1), ("white_noise", 5), ("black", 5), ("truncation", 3)):
        assert found[key] != found["random", 0], key
    changed_by = table[table["level"] > 0].groupby("corruption")["modalities"].unique().map(list).to_dict()
    assert (changed_by["white_noise"], changed_by["black"], changed_by["truncation"]) == (
        ["audio"],
        ["vision"],
        ["text"],
    )

    kinds = pd.read_csv(results / "tables" / "kinds.csv")
    assert {"white_noise", "black", "truncation"} <= set(kinds["kind"])
    levels = pd.read_csv(results / "tables" / "white_noise_measured.csv")
    assert set(levels["measurement"]) >= {"snr", "voiced", "distortion"}
    page = (results / "report.html").read_text()
    assert "White noise: measurements of the test clips" in page
    assert "(1: 20 dB; 2: 10 dB;" in page


def test_a_clip_is_written_and_predicted_with_its_sound_corrupted(project):
    clip = next((project.folder / "results/datasets/demo/clips").glob("*.mp4"))
    done = project.elision(
        "corrupt-media", "--preview", str(clip), "--kind", "white_noise", "--severity", "4", "--out", "noisy.mp4"
    )
    assert done.returncode == 0, done.stderr
    assert "signal-to-noise ratio over speech, in dB: 0\n" in done.stdout
    assert (project.folder / "noisy.mp4").stat().st_size > 10_000
    wrong = project.elision("corrupt-media", "--preview", str(clip), "--kind", "white_nois")
    assert wrong.returncode == 2
    assert "did you mean white_noise?" in wrong.stderr
