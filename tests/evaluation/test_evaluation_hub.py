"""Clips go through the workflow with models of the hub, next to other extractors, and are then asked about."""

import json

import av
import numpy as np
import pandas as pd
import pytest
import yaml
from skimage import data
from typer.testing import CliRunner

import hub_models
from elision import cli
from elision.features.align import Alignment
from elision.provenance.layout import Layout
from elision.store import read_sequences

RUN = "seed-1"
TABLE = """id,path,text,label,split,speaker
train_1,train_1.mkv,The film was really good.,2.0,train,kim
train_2,train_2.mkv,A boring story and a weak ending,-1.5,train,kim
train_3,train_3.mkv,I was there,0.0,train,lee
valid_1,valid_1.mkv,Nothing was right,-2.0,valid,max
test_1,test_1.mkv,I liked the music and the acting,1.5,test,ann
test_2,test_2.mkv,an ugly film,-1.0,test,ann
"""
pytestmark = pytest.mark.workflow
runner = CliRunner()


def film(path, seed):
    """Half a second of a face at 10 frames per second, and of noise."""
    photograph = np.ascontiguousarray(data.astronaut()[:256, 96 - 4 * seed : 352 - 4 * seed])
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 256, 256, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for _ in range(5):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(photograph, format="rgb24")))
        container.mux(picture.encode())
        y = np.random.default_rng(seed).normal(0, 3000, (1, 8000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(y, format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder of clips that two datasets share, of which one is extracted by models of the hub, up to predictions."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "clips").mkdir()
    (folder / "clips" / "clips.csv").write_text(TABLE)
    for seed, line in enumerate(TABLE.splitlines()[1:]):
        film(folder / "clips" / line.split(",")[1], seed)
    models = {
        modality: {"extractor": "hf", "model": hub_models.make(family, folder / family)}
        for modality, family in (("audio", "wavlm"), ("vision", "dinov2"), ("text", "qwen"))
    }
    source = {"source": "clips", "folder": str(folder / "clips")}
    params = {
        "datasets": {
            "plain": source,
            "hub": {**source, "features": models},
            "means": {**source, "features": {m: {**models[m], "pool": "mean"} for m in ("audio", "vision")}},
        },
        "methods": [{"ae": {"epochs": 1, "batch_size": 4}}],
        "seeds": [1],
        "features": {"shards": 1},
        "corruption": {"random": [0.0, 0.5], "media": {"white_noise": [3], "recognition_errors": [5]}},
        "train": {"device": "cpu"},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))

    def typed(*arguments):
        options = ["--params", str(folder / "params.yaml"), "--results", str(folder / "results")]
        result = runner.invoke(cli.app, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    every = ["text", "audio", "vision"]
    for dataset, modalities in (("plain", ["audio"]), ("hub", every), ("means", every)):
        typed("prepare", "--dataset", dataset)
        for modality in modalities:
            typed("extract", modality, "--dataset", dataset, "--shard", "0")
            typed("merge", modality, "--dataset", dataset)
    for dataset in ("hub", "means"):
        for verb in ("assemble", "align", "encode", "corrupt"):
            typed(verb, "--dataset", dataset)
        for kind in ("white_noise", "recognition_errors"):
            typed("corrupt-clips", "--dataset", dataset, "--kind", kind, "--shard", "0")
            typed("merge-clips", "--dataset", dataset, "--kind", kind)
        for verb in ("train", "evaluate"):
            typed(verb, "--dataset", dataset, "--method", "ae", "--run", RUN)
    return folder, Layout(folder / "results")


def test_extractors_stand_side_by_side_and_no_clip_is_copied(project):
    folder, layout = project
    plain, hub = (read_sequences(layout.sequences(dataset, "audio")) for dataset in ("plain", "hub"))
    assert (plain.header.extractor, plain.width) == ("librosa", 33)
    assert (hub.header.extractor, hub.width, hub.header.rate) == ("hf", 16, 50.0)
    assert len(list(folder.rglob("*.mkv"))) == len(TABLE.splitlines()) - 1


def test_a_run_tells_the_models_of_its_features_with_their_licences(project):
    _, layout = project
    told = " ".join(json.loads((layout.run("hub", "ae", RUN) / "run.json").read_text())["read"])
    assert told.count("licence: apache-2.0") == 3
    for family in ("wavlm", "dinov2", "qwen"):
        assert f"/{family} (" in told


def test_all_tokens_see_the_mean_of_a_clip(project):
    _, layout = project
    for modality in ("audio", "vision"):
        assert set(read_sequences(layout.sequences("means", modality)).lengths) == {1}
        spans = Alignment.open(layout.alignment("means")).spans[modality]
        assert (spans == [0, 1]).all()


@pytest.mark.parametrize("dataset", ["hub", "means"])
def test_corrupted_sound_and_words_are_evaluated_with_the_same_models(project, dataset):
    _, layout = project
    found = pd.read_parquet(layout.predictions(dataset, "ae", RUN))
    by = {key: rows["prediction"].to_numpy() for key, rows in found.groupby(["corruption", "level"])}
    for kind, severity in (("white_noise", 3.0), ("recognition_errors", 5.0)):
        assert (by[kind, severity] != by["random", 0.0]).any(), kind


@pytest.mark.parametrize("dataset", ["hub", "means"])
def test_a_clip_is_predicted_as_in_the_evaluation(project, dataset):
    folder, layout = project
    clip = str(folder / "clips" / "test_1.mkv")
    words = ["--text", "I liked the music and the acting"]
    model = ["--model", str(layout.run(dataset, "ae", RUN)), "--device", "cpu", "--json"]
    result = runner.invoke(cli.app, ["predict", clip, *words, *model], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)["clips"]
    assert answer["present"] == ["text", "audio", "vision"]
    whole = next(each["prediction"] for each in answer["predictions"] if not each["level"])
    found = pd.read_parquet(layout.predictions(dataset, "ae", RUN))
    clean = found[(found["id"] == "test_1") & (found["corruption"] == "random") & (found["level"] == 0)]
    assert whole == pytest.approx(clean["prediction"].item(), abs=1e-4)
