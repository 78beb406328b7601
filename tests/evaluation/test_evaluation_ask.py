"""A small project is made once, from clips with a face and a voice to predictions; then its models are asked."""

import functools
import json
import math
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import yaml
from skimage import data
from typer.testing import CliRunner

from elision import cli, methods
from elision.datasets.clips import opened, unlabelled
from elision.errors import ElisionError
from elision.evaluation import ask
from elision.provenance.layout import Layout
from elision.settings import params as parameters
from elision.store import read_table
from elision.training.record import Record

pytestmark = pytest.mark.workflow
runner = CliRunner()
RUN = "seed-1"
TABLE = """id,path,text,label,split,speaker
train_1,train_1.mp4,The film was really good.,2.0,train,kim
train_2,train_2.mp4,A boring story and a weak ending,-1.5,train,kim
train_3,train_3.mp4,I was there,0.0,train,lee
train_4,train_4.mp4,so so,-0.2,train,lee
valid_1,valid_1.mp4,Nothing was right,-2.0,valid,max
valid_2,valid_2.mp4,Wonderful,2.5,valid,max
test_1,test_1.mp4,I liked the music and the acting,1.5,test,ann
test_2,test_2.mkv,an ugly film,-1.0,test,ann
test_3,test_3.wav,,0.5,test,ann
"""
CLASSES = {"task": "classification", "classes": ["bad", "neutral", "good"], "cuts": [-0.5, 0.5]}
RAMER = {"epochs": 1, "batch_size": 4, "hidden": 12, "feed_forward": 16}
PARAMS = {
    "datasets": {
        "scores": {"source": "clips", "folder": "clips"},
        "classes": {"source": "clips", "folder": "clips", **CLASSES},
    },
    "methods": [
        {"lnln": {"epochs": 1, "batch_size": 4, "finetune_text_encoder": False}},
        {"words": {"method": "self_mm", "alignment": "words", "epochs": 1, "batch_size": 4, "accumulate": 1}},
        {"ae": {"epochs": 1, "batch_size": 4}},
        {"ramer": {"top_k": 2, **RAMER}},
    ],
    "teachers": {"ramer_encoders": RAMER},
    "seeds": [1],
    "features": {"shards": 1, "vision": {"fps": 5, "centre": "clip"}},
    "corruption": {"random": [0.0, 0.5, 0.9], "seed": 7},
    "train": {"device": "cpu"},
}
ASKED = [("scores", "lnln"), ("scores", "words"), ("classes", "ae"), ("classes", "ramer")]


def make_clip(path, *, seed, seconds=0.8):
    """A voiced sound, and a face that moves sideways; one of them for .wav and .mkv."""
    rate, frames = 16000, round(seconds * 10)
    random = np.random.default_rng(seed)
    photograph = np.ascontiguousarray(data.astronaut()[:256, 80:400])
    with av.open(str(path), "w") as container:
        sound = picture = None
        if path.suffix != ".wav":
            picture = container.add_stream("libx264", 10)
            picture.width, picture.height, picture.pix_fmt = 256, 256, "yuv420p"
        if path.suffix != ".mkv":
            sound = container.add_stream("aac" if picture else "pcm_s16le", rate, layout="mono")
        for k in range(frames if picture else 0):
            left = (4 * seed + 3 * k) % 64
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(photograph[:, left : left + 256]), "rgb24")
            container.mux(picture.encode(frame))
        if sound:
            time = np.arange(round(rate * seconds)) / rate
            tone = 6000 * np.sin(2 * np.pi * (110 + 30 * seed) * time) + random.normal(0, 300, len(time))
            frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], "s16", "mono")
            frame.sample_rate = rate
            container.mux(sound.encode(frame))
        for stream in (sound, picture):
            if stream:
                container.mux(stream.encode())


def elision(folder, *arguments):
    options = ["--params", str(folder / "params.yaml"), "--results", str(folder / "results")]
    result = runner.invoke(cli.app, [*arguments, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ask")
    clips = folder / "clips"
    clips.mkdir()
    (clips / "clips.csv").write_text(TABLE)
    names = [line.split(",")[1] for line in TABLE.splitlines()[1:]]
    for seed, name in enumerate(names):
        make_clip(clips / name, seed=seed)
    params = json.loads(json.dumps(PARAMS))
    for settings in params["datasets"].values():
        settings["folder"] = str(clips)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for dataset in params["datasets"]:
        elision(folder, "prepare", "--dataset", dataset)
        for modality in ("text", "audio", "vision"):
            elision(folder, "extract", modality, "--dataset", dataset, "--shard", "0")
            elision(folder, "merge", modality, "--dataset", dataset)
        for verb in ("assemble", "align", "encode", "corrupt"):
            elision(folder, verb, "--dataset", dataset)
    elision(folder, "train", "--dataset", "classes", "--method", "ramer_encoders", "--run", RUN)
    elision(folder, "index", "--dataset", "classes", "--teacher", "ramer_encoders", "--run", RUN)
    for dataset, method in ASKED:
        for verb in ("train", "evaluate"):
            elision(folder, verb, "--dataset", dataset, "--method", method, "--run", RUN)
    return folder


def model(project, dataset="scores", method="lnln") -> Path:
    return Layout(project / "results").run(dataset, method, RUN)


def predict(project, *arguments, of=None, code=0):
    """Ask through the command line; returns the document and what went to stderr."""
    arguments = [*map(str, arguments), "--model", str(of or model(project)), "--device", "cpu", "--json"]
    result = runner.invoke(cli.app, ["predict", *arguments])
    if isinstance(result.exception, ElisionError):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout), result.stderr


def by_condition(clip):
    return {(each["corruption"], each["level"], "+".join(each["modalities"])): each for each in clip["predictions"]}


@pytest.mark.parametrize(("dataset", "method"), ASKED)
def test_a_clip_of_the_dataset_gets_the_predictions_of_the_evaluation(project, dataset, method):
    of, table = model(project, dataset, method), project / "clips" / "clips.csv"
    document, _ = predict(project, "--clips", table, "--rates", "0.5,0.9", "--seed", "7", of=of)
    found = {clip["id"]: clip for clip in document["clips"]}
    stored, _ = read_table(Layout(project / "results").predictions(dataset, method, RUN))
    logits = [name for name in stored if name.startswith("logit.")]
    # The last bits of a product of matrices may depend on the size of the batch.
    near = functools.partial(pytest.approx, rel=0, abs=1e-6)
    for name, absent in {"test_1": (), "test_2": ("audio",)}.items():
        assert found[name]["absent"] == list(absent)
        answers, compared = by_condition(found[name]), 0
        for row in stored[stored["id"] == name].to_dict("records"):
            gone = row["modalities"].split("+") if row["modalities"] else []
            if row["corruption"] == "random" and row["level"]:
                if absent:  # the evaluation does not tell methods that it is absent there
                    continue
                answer = answers["random", row["level"], row["modalities"]]
            elif set(absent) <= set(gone) or not (gone or absent):
                rest = "+".join(m for m in gone if m not in absent)
                answer = answers["absent", float(bool(rest)), rest]
            else:
                continue
            if logits:
                assert answer["prediction"] == row["prediction"]
                assert answer["logits"] == near({c.removeprefix("logit."): row[c] for c in logits})
            else:
                assert answer["prediction"] == near(row["prediction"])
            compared += 1
        assert compared == (3 if absent else 2 + 7 + 1)


def test_a_clip_is_predicted_alike_alone_and_among_others(project):
    clips = project / "clips"
    alone, _ = predict(project, clips / "test_1.mp4")
    together, _ = predict(project, clips / "test_3.wav", clips / "test_1.mp4", clips / "test_2.mkv")
    assert alone["clips"] == together["clips"][1:2]
    assert [clip["id"] for clip in together["clips"]] == ["test_3", "test_1", "test_2"]


def test_what_a_clip_lacks_is_absent_and_only_what_it_has_can_be_lost(project):
    clips = project / "clips"
    document, _ = predict(project, clips / "test_1.mp4", "--text", "I liked it")
    assert document["clips"][0]["present"] == ["text", "audio", "vision"]
    assert len(document["clips"][0]["predictions"]) == 1 + 3 + 6
    document, _ = predict(project, clips / "test_3.wav", clips / "test_2.mkv")
    sound, picture = document["clips"]
    assert (sound["present"], sound["absent"]) == (["audio"], ["text", "vision"])
    assert (picture["present"], picture["absent"]) == (["vision"], ["text", "audio"])
    assert list(by_condition(sound)) == [
        ("absent", 0.0, ""),
        *(("random", rate, "audio") for rate in (0.1, 0.5, 0.9)),
    ]


def test_words_alone_are_predicted_without_any_other_extractor(project, monkeypatch):
    monkeypatch.setattr("elision.features.shards._module", lambda name: pytest.fail(f"{name} is not needed"))
    document, _ = predict(project, "--text", "I liked the music")
    (clip,) = document["clips"]
    assert (clip["path"], clip["present"], clip["text"]) == (None, ["text"], "I liked the music")
    assert clip["lengths"] == {"text": 6}


@pytest.mark.parametrize("suffix", ["mp4", "wav", "mkv"])
def test_a_longer_clip_is_cut_at_one_second_in_all_modalities_and_it_is_said(project, tmp_path, suffix):
    for name, seconds in (("fits", 0.8), ("long", 3.0)):
        make_clip(tmp_path / f"{name}.{suffix}", seed=1, seconds=seconds)
    document, _ = predict(project, tmp_path / f"fits.{suffix}", tmp_path / f"long.{suffix}")
    fits, long = document["clips"]
    assert not [note for note in fits["notes"] if "cut" in note]
    longest = {
        name: header["length"]
        for name, header in json.loads((model(project) / "run.json").read_text())["sequences"].items()
    }
    ends = {"audio": longest["audio"] * 512 / 22050, "vision": longest["vision"] / 5}
    end = min(ends[name] for name in long["present"])
    expected = {"audio": math.ceil(end * 22050 / 512 - 1e-9), "vision": math.ceil(end * 5 - 1e-9)}
    assert long["lengths"] == {name: expected[name] for name in long["present"]}
    notes = [note for note in long["notes"] if "cut" in note]
    assert len(notes) == len(long["present"])
    for name, note in zip(long["present"], notes, strict=True):
        assert note == (f"{name} is cut after {end:.2f} s ({expected[name]} frames), the longest of the training")


def test_a_text_that_is_too_long_is_cut_as_in_training_and_it_is_said(project):
    longest = Record.read(model(project)).sequences["text"].length
    words = ["good"] * (longest - 2)
    (fits,), (cut,) = (predict(project, "--text", " ".join(text))[0]["clips"] for text in (words, [*words, "bad"]))
    assert fits["notes"] == []
    assert cut["notes"] == [f"text is cut from {longest + 1} to {longest} tokens, the longest of the training"]
    assert fits["predictions"] == cut["predictions"]


def test_the_seed_and_the_id_decide_what_is_missing_and_nothing_else_does(project, tmp_path):
    clip, copy = project / "clips" / "test_1.mp4", tmp_path / "other.mp4"
    shutil.copy(clip, copy)
    first, again, seeded, named = (
        predict(project, *arguments)[0]["clips"][0]["predictions"]
        for arguments in ((clip,), (clip,), (clip, "--seed", "2"), (copy,))
    )
    assert first == again
    for other in (seeded, named):
        same = [a == b for a, b in zip(first, other, strict=True)]
        assert same == [each["corruption"] == "absent" for each in first]


@pytest.mark.parametrize(("dataset", "method"), [("scores", "lnln"), ("classes", "ae")])
def test_the_document_has_the_keys_that_the_guide_tells(project, dataset, method):
    document, _ = predict(project, "--clips", project / "clips" / "clips.csv", of=model(project, dataset, method))
    assert list(document) == ["elision", "model", "seed", "notes", "clips"]
    keys = [
        "folder",
        "dataset",
        "name",
        "method",
        "run",
        "checkpoint",
        "task",
        "corpus",
        "synthetic",
        "range",
        "classes",
        "modalities",
    ]
    assert list(document["model"]) == keys
    classes = document["model"]["classes"]
    assert document["model"]["range"] == (None if classes else [-3.0, 3.0])
    for clip in document["clips"]:
        assert list(clip) == [*("id", "path", "text", "error", "present", "absent", "lengths", "notes", "predictions")]
        for each in clip["predictions"]:
            assert list(each) == ["corruption", "level", "modalities", "prediction", "probabilities", "logits"]
            if classes:
                assert list(each["probabilities"]) == list(each["logits"]) == classes
                assert sum(each["probabilities"].values()) == pytest.approx(1)
                assert each["prediction"] == max(each["logits"], key=each["logits"].get)
            else:
                assert np.isfinite(each["prediction"])
                assert (each["probabilities"], each["logits"]) == (None, None)


def test_the_table_shows_every_clip_under_every_condition(project):
    arguments = ["--text", "I liked the music", "--model", str(model(project)), "--rates", "0.5"]
    result = runner.invoke(cli.app, ["predict", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for words in ("score, -3 (negative) to 3 (positive)", "nothing", "50 % of text", "text: audio is absent"):
        assert words in result.stdout
    asked = [*arguments[:2], "--model", str(model(project, "classes", "ae"))]
    result = runner.invoke(cli.app, ["predict", *asked], env={"COLUMNS": "120"})
    assert "neutral" in result.stdout


def test_one_clip_that_cannot_be_read_is_named_and_the_others_are_predicted(project, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video" * 50)
    document, errors = predict(project, broken, project / "clips" / "test_1.mp4", tmp_path / "nothing.wav", code=1)
    wrong, right, gone = document["clips"]
    assert "broken.mp4: cannot be decoded" in wrong["error"] and wrong["predictions"] == []
    assert "nothing.wav: no such file" in gone["error"]
    assert right["error"] is None and right["predictions"]
    assert errors.count("elision: clip ") == 2


def test_a_table_needs_no_labels_and_tells_what_is_wrong_with_it(project, tmp_path):
    (tmp_path / "clips.csv").write_text("id,text,transcript\na,good,\n")
    with pytest.raises(ElisionError, match="both columns text and transcript"):
        predict(project, "--clips", tmp_path / "clips.csv")
    (tmp_path / "clips.csv").write_text("id,path,transcript\na,,words.txt\nb,,gone.txt\n")
    (tmp_path / "words.txt").write_text("I liked\nthe music")
    document, _ = predict(project, "--clips", tmp_path / "clips.csv", code=1)
    first, second = document["clips"]
    assert first["text"] == "I liked the music"
    assert "gone.txt does not exist" in second["error"]


def test_a_clip_without_anything_that_the_model_sees_is_an_error(project):
    document, _ = predict(project, "--text", " ", code=1)
    assert "the clip has none of the modalities of the model (text, audio, vision)" in document["clips"][0]["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.mp4", "--clips", "clips.csv"),
        ("a.mp4", "b.mp4", "--text", "words"),
        ("--text", "words", "--rates", "0.5,1.5"),
        ("--text", "words", "--rates", "half"),
        ("--text", "words", "--rates", "0.5,0.5"),
        ("--text", "words", "--device", "abacus"),
    ],
)
def test_wrong_usage_ends_with_2(project, arguments):
    result = runner.invoke(cli.app, ["predict", *arguments, "--model", str(model(project))])
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_a_run_can_be_asked_where_there_is_nothing_else(project, tmp_path, monkeypatch):
    clip = project / "clips" / "test_1.mp4"
    here, _ = predict(project, clip)
    there, _ = predict(project, clip, of=shutil.copytree(model(project), tmp_path / "copy"))
    assert there["clips"] == here["clips"]


def test_a_database_moves_with_its_run(project, tmp_path):
    of, clip = model(project, "classes", "ramer"), project / "clips" / "test_2.mkv"
    moved = shutil.copytree(of, tmp_path / "moved")
    with pytest.raises(
        ElisionError, match=r"searches the database of ramer_encoders, but the database is missing; copy it to"
    ):
        predict(project, clip, of=moved)
    database = Layout(project / "results").database("classes", "ramer_encoders", RUN)
    shutil.copytree(database, moved / "database")
    assert predict(project, clip, of=moved)[0]["clips"] == predict(project, clip, of=of)[0]["clips"]
    record = json.loads((moved / "run.json").read_text())
    record["provenance"]["inputs"]["database"] = "another"
    (moved / "run.json").write_text(json.dumps(record))
    with pytest.raises(ElisionError, match=r"is not the database with which .* was trained"):
        predict(project, clip, of=moved)


def changed(record, *path, to):
    for key in path[:-1]:
        record = record[key]
    record[path[-1]] = to


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (
            ("extracted",),
            [],
            r"a dataset of features \(source clips\)\. Elision cannot extract such features from clips",
        ),
        (
            ("sequences", "audio", "version"),
            "0.1",
            "audio would not be extracted as for the training: version was '0.1'",
        ),
        (
            ("sequences", "vision", "extractor"),
            "pyfeat",
            "vision would not be extracted .* extractor was 'pyfeat' and is now 'med",
        ),
        (
            ("sequences", "text", "settings", "unk"),
            5,
            "text would not be extracted as for the training: unk was 5 and is now 100",
        ),
        (("sequences", "audio", "settings", "pitch"), 1, "audio would not be extracted .* pitch was 1 and is now None"),
        (("sequences", "audio", "settings", "mfcc"), 0, r"run\.json: settings of audio: "),
        (("sequences", "vision", "settings", "centre"), "speaker", "trained with features.vision.centre: speaker"),
        (("sequences", "audio", "features"), ["f0"], "audio would not be extracted .* features was "),
        (("code", "audio"), "0" * 16, "the code of audio has changed since the training"),
        (("code", "method"), "0" * 16, "the code of method has changed since the training"),
        (("spec", "encoder"), "no/such-encoder", "text encoder 'no/such-encoder' is not on this machine"),
        (
            ("encoder",),
            "of another",
            "the tokenizer or the weights of the text encoder 'minilm' have changed since the training",
        ),
        (("weights",), "0" * 64, r"model\.safetensors is damaged, or belongs to another run than run\.json"),
        (("hyperparameters", "width"), 64, "weights of another architecture"),
        (("hyperparameters", "colour"), 64, r"run\.json: lnln: .*colour"),
        (("spec",), None, r"run\.json was not written by this version of Elision \(missing or unexpected: spec\)"),
        (("checkpoints",), {"mae": {}}, "no checkpoint that was chosen on validation data"),
    ],
)
def test_a_run_that_cannot_be_asked_is_refused(project, tmp_path, monkeypatch, path, to, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    of = shutil.copytree(model(project), tmp_path / "run")
    record = json.loads((of / "run.json").read_text())
    changed(record, *path, to=to)
    (of / "run.json").write_text(json.dumps(record))
    with pytest.raises(ElisionError, match=rf"(?s){message}"):
        predict(project, project / "clips" / "test_1.mp4", "--text", "words", of=of)


def test_a_damaged_record_or_a_folder_that_is_no_run_is_refused(project, tmp_path):
    with pytest.raises(ElisionError, match=r"run\.json does not exist; give the folder of a trained run"):
        predict(project, "--text", "words", of=tmp_path)
    of = shutil.copytree(model(project), tmp_path / "run")
    for content in ("{", "[1]", '"text"'):
        (of / "run.json").write_text(content)
        with pytest.raises(ElisionError, match=r"run\.json (is damaged|was not written by this version)"):
            predict(project, "--text", "words", of=of)
    (of / "model.safetensors").unlink()
    with pytest.raises(ElisionError, match=r"model\.safetensors does not exist"):
        predict(project, "--text", "words", of=of)


def test_changed_code_can_be_accepted_and_is_told(project, tmp_path):
    of = shutil.copytree(model(project), tmp_path / "run")
    record = json.loads((of / "run.json").read_text())
    before, _ = predict(project, project / "clips" / "test_1.mp4", "--text", "words", of=of)
    for name in ("method", "audio"):
        record["code"][name] = "0" * 16
    (of / "run.json").write_text(json.dumps(record))
    found, _ = predict(project, project / "clips" / "test_1.mp4", "--text", "words", "--accept-code", of=of)
    assert found["notes"] == ["the code of method, audio has changed since the training; you accepted the new code"]
    assert found["clips"] == before["clips"] and before["notes"] == []


def test_a_model_of_synthetic_data_says_so(project, tmp_path):
    of = shutil.copytree(model(project), tmp_path / "run")
    document, _ = predict(project, "--text", "words", of=of)
    assert document["model"]["synthetic"] is False and document["notes"] == []
    record = json.loads((of / "run.json").read_text())
    assert record["synthetic"] is False
    (of / "run.json").write_text(json.dumps({**record, "source": "demo", "synthetic": True}))
    document, _ = predict(project, "--text", "words", of=of)
    assert document["model"]["synthetic"] is True
    told = "the model was trained on synthetic data (source demo); predictions of other clips mean nothing"
    assert document["notes"] == [told]
    shown = runner.invoke(cli.app, ["predict", "--text", "words", "--model", str(of)])
    assert told in " ".join(shown.output.split())


def test_another_library_is_told_but_not_refused(project, tmp_path):
    of = shutil.copytree(model(project), tmp_path / "run")
    record = json.loads((of / "run.json").read_text())
    record["versions"]["torch"] = "1.0"
    (of / "run.json").write_text(json.dumps(record))
    document, _ = predict(project, "--text", "words", of=of)
    assert document["notes"][0].startswith("torch is ")


def test_a_modality_without_which_it_was_trained_is_left_out(project, tmp_path):
    of = shutil.copytree(model(project), tmp_path / "run")
    record = json.loads((of / "run.json").read_text())
    record["present"] = ["text", "audio"]
    (of / "run.json").write_text(json.dumps(record))
    (clip,) = predict(project, project / "clips" / "test_1.mp4", of=of)[0]["clips"]
    assert (clip["present"], clip["absent"]) == (["audio"], ["text"])
    assert clip["notes"] == ["vision is not used: the model was trained without vision"]


def test_a_video_without_a_face_is_predicted_and_it_is_said(project, tmp_path):
    with av.open(str(tmp_path / "grey.mkv"), "w") as container:
        stream = container.add_stream("libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (clip,) = predict(project, tmp_path / "grey.mkv")[0]["clips"]
    assert clip["notes"] == ["no face was found in 4 frames"]


@pytest.mark.parametrize("name", parameters.method_names())
def test_hyperparameters_survive_the_record(name):
    hyperparameters, _ = methods.resolve(name, "demo")
    assert type(hyperparameters)(**hyperparameters.model_dump(mode="json")) == hyperparameters


def test_clips_are_described_as_the_table_of_a_dataset_describes_them(project):
    folder = project / "clips"
    table, problems = unlabelled(folder / "clips.csv")
    stored, _ = read_table(Layout(project / "results").clips("scores"))
    assert problems == []
    pd.testing.assert_frame_equal(table, stored[table.columns], check_dtype=False)
    single, _ = opened([folder / "test_1.mp4"], "I liked the music and the acting")
    expected = table[table["id"] == "test_1"].drop(columns="speaker").reset_index(drop=True)
    pd.testing.assert_frame_equal(single.drop(columns="speaker"), expected, check_dtype=False)


def test_rates_and_seed_are_those_of_the_params():
    assert parameters.Corruption().seed == ask.SEED
