"""A stranger's folder: speech without text or pictures, and videos with one face, several seconds of it, and none."""

import json

import numpy as np
import pandas as pd
import pytest
from workflow_project import SMALL, Warm, browse

from elision.store import Store

pytestmark = pytest.mark.workflow

# Emotion letters of EmoDB file names (anger, boredom, disgust, fear, happiness, sadness, neutral), read as sentiment.
SENTIMENT = {"W": -2.5, "L": -1.0, "E": -2.0, "A": -2.0, "F": 2.5, "T": -1.5, "N": 0.0}


def table(real_data):
    rows = []
    # A third of the files of both speakers shows all that the tests ask for.
    for number, path in enumerate(sorted(real_data.glob("emodb_two_speakers/*/*.wav"))[::3]):
        split = ("train", "train", "train", "valid", "test")[number % 5]
        label = SENTIMENT[path.stem[5]]
        rows.append({"id": path.stem, "path": path.resolve(), "label": label, "split": split, "text": ""})
    videos = {"single_face": "train", "no_face": "valid", "WolfgangLanger_Pexels": "test"}
    for name, split in videos.items():
        path = (real_data / "clips" / f"{name}.mp4").resolve()
        rows.append({"id": name, "path": path, "label": 0.5, "split": split, "text": "Hello there."})
    return pd.DataFrame(rows)


def test_a_strangers_folder_goes_from_files_to_a_report(real_data, tmp_path):
    project = Warm(tmp_path / "project", {})
    folder = project.folder / "data" / "mine"
    folder.mkdir(parents=True)
    clips = table(real_data)
    clips.to_csv(folder / "clips.csv", index=False)
    project.write({**SMALL, "datasets": {"mine": {"source": "clips", "folder": "data/mine", "outside": True}}})
    project.snakemake("--cores", "2")

    store = Store.open(project.folder / "results" / "datasets" / "mine")
    samples = store.samples.set_index("id")
    assert len(samples) == len(clips) == 34
    speech = samples.loc[[name for name in samples.index if name[0].isdigit()]]
    assert (speech["length_audio"] > 40).all()
    assert not speech[["length_text", "length_vision"]].any(axis=None)
    observed = {}
    for name in ("single_face", "no_face", "WolfgangLanger_Pexels"):
        frames = store.modalities["vision"][samples.index.get_loc(name)]
        observed[name] = (~pd.isna(frames).any(axis=1)).mean()
        assert samples.loc[name, "length_text"] == 5
    assert observed["no_face"] == 0
    assert observed["single_face"] > 0.9
    metrics = pd.read_parquet(project.folder / "results" / "metrics.parquet")
    assert set(metrics["method"]) == {"majority", "self_mm-short"}
    assert json.loads((project.folder / "results" / "metrics.json").read_text())
    assert (project.folder / "results" / "report.html").exists()


def test_mosi_stands_beside_the_published_numbers_under_two_protocols(real_data, tmp_path):
    # A tenth of the utterances shows all that the test asks for.
    table = pd.read_csv(real_data / "mosi" / "mosi_index.csv")[::10]
    table.to_csv(tmp_path / "samples.csv", index=False)
    with np.load(real_data / "mosi" / "mosi_utterance_features.npz") as features:
        kept = np.isin(features["id"], table["id"].to_numpy(str))
        np.savez(tmp_path / "features.npz", id=features["id"][kept], audio=features["audio"][kept])
    mosi = {
        "source": "arrays",
        "corpus": "mosi",
        "published": "mosi",
        "table": str(tmp_path / "samples.csv"),
        "columns": {"label": "y", "split": "official_split"},
        "max_length": 16,
        "audio": {
            "file": str(tmp_path / "features.npz"),
            "values": "audio",
            "ids": "id",
        },
    }
    project = Warm(
        tmp_path / "project",
        {
            "datasets": {"ours": mosi, "theirs": {**mosi, "protocol": "lnln"}},
            "methods": ["majority", {"self_mm": {"finetune_text_encoder": False}}],
            "seeds": [1],
            "corruption": {"random": [0.0, 0.5], "absent": False},
            "train": {"device": "cpu", "epochs": 1},
            "statistics": {"resamples": 100},
        },
    )
    project.snakemake("--cores", "2")
    results = project.folder / "results"
    metrics = pd.read_parquet(results / "metrics.parquet")
    theirs = metrics[metrics["dataset"] == "theirs"]
    assert {"valid", "acc7", "mae"} <= set(theirs["checkpoint"])
    assert {"f1_negpos_swapped", "f1_nonneg_swapped"} <= set(theirs["metric"]) - set(
        metrics.loc[metrics["dataset"] == "ours", "metric"]
    )
    table = pd.read_csv(results / "tables" / "against_published.csv")
    assert set(table["dataset"]) == {"ours", "theirs"}
    assert set(table["method"]) == {"self_mm"}
    selection = pd.read_csv(results / "tables" / "selection.csv").set_index(["dataset", "method", "chosen"])
    assert selection.loc[("theirs", "self_mm", "difference"), "acc7_mean"] == pytest.approx(
        selection.loc[("theirs", "self_mm", "TEST"), "acc7_mean"]
        - selection.loc[("theirs", "self_mm", "validation"), "acc7_mean"]
    )
    assert "ours" not in selection.index.get_level_values("dataset")
    assert "Checkpoints chosen on the TEST set" in (results / "tables" / "random_missing.md").read_text()
    browse(results / "report.html")


def test_a_folder_with_mistakes_stops_before_extraction_with_all_of_them(real_data, tmp_path):
    project = Warm(tmp_path / "project", {})
    folder = project.folder / "data" / "mine"
    folder.mkdir(parents=True)
    (folder / "broken.mp4").write_bytes(b"not a video")
    clips = table(real_data).head(8)
    clips["label"] = clips["label"].astype(object)
    clips.loc[0, "label"] = "happy"
    clips.loc[1, "id"] = clips.loc[2, "id"]
    clips.loc[3, "path"] = "broken.mp4"
    clips.loc[4, "path"] = "nowhere.mp4"
    clips.to_csv(folder / "clips.csv", index=False)
    project.write({**SMALL, "datasets": {"mine": {"source": "clips", "folder": "data/mine", "outside": True}}})
    output = project.snakemake("--cores", "2", check=False)
    for part in ("'happy'", clips.loc[2, "id"], "broken.mp4", "nowhere.mp4"):
        assert str(part) in output
    assert not (project.folder / "results" / "datasets" / "mine" / "shards").exists()
