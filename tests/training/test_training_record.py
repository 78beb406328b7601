import json

import pytest

from elision.errors import ElisionError
from elision.methods import build, resolve
from elision.methods.layers.text_encoder import StubEncoder
from elision.provenance.recipe import code
from elision.settings.params import Params
from elision.store import Header
from elision.training.record import Record, describe, digests
from elision.training.run import Run
from elision.training.view import spec

REST = {
    "hyperparameters": {},
    "scales": {"audio": {"mean": [0.5], "std": [2.0]}},
    "checkpoints": {"valid": {"epoch": 1, "score": 0.5}},
    "versions": {"torch": "2"},
    "provenance": {"step": "train"},
}


def params(**dataset):
    return Params(
        datasets={"mine": {"source": "demo", **dataset}}, methods=[{"floor": {"method": "majority"}}], seeds=[1]
    )


def described(store, settings=None):
    hyperparameters, _ = resolve("majority", "demo")
    model = build("majority", hyperparameters, spec(store, "demo"), StubEncoder(8))
    return describe(Run(settings or params(), "mine", "floor", "seed-1"), store=store, model=model)


@pytest.fixture
def folder(store, tmp_path):
    """A run whose weights are four bytes."""
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    digest = "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4"
    (tmp_path / "run.json").write_text(json.dumps({**described(store), **REST, "weights": digest}))
    return tmp_path


def test_what_is_described_is_read_again(store, folder):
    store.modalities["audio"].header.settings["failed"] = {"sample_3": "broken"}
    store.modalities["audio"].header.provenance = {"identity": "x"}
    record = Record.read(folder)
    assert (record.method, record.name, record.extracted) == ("majority", "floor", ["text", "audio", "vision"])
    assert record.spec == spec(store, "demo")
    assert record.sequences["audio"] == Header(modality="audio", length=9, extractor="test")
    assert record.sequences["text"] == store.modalities["text"].header
    assert record.present == ["text", "audio", "vision"]
    assert json.loads(json.dumps(described(store)))["sequences"]["audio"]["settings"] == {}


def test_a_source_of_sequences_extracts_nothing(store):
    about = described(store, params(source="mmsa", file="mine.pkl", corpus="mosi"))
    assert about["extracted"] == []
    assert set(about["code"]) == {"method", "align", "encode"}


def test_weights_of_another_run_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"12345")
    with pytest.raises(ElisionError, match=r"model\.safetensors is damaged, or belongs to another run"):
        Record.read(folder)


def test_the_digest_of_a_method_is_of_what_predicts_and_not_of_what_stores():
    found = digests("lnln", ["audio", "text"], {})
    assert set(found) == {"method", "audio", "text"}
    assert found["text"] == code("features.text", within=("elision.batch", "elision.features", "elision.methods"))
    assert found["method"] != code("methods.lnln") != digests("almt", [], {})["method"] != found["method"]


def test_the_digest_of_a_modality_is_that_of_the_module_that_extracted_it():
    header = Header(modality="audio", length=1, extractor="hf")
    of_hub, of_librosa = (digests("lnln", ["audio"], given)["audio"] for given in ({"audio": header}, {}))
    within = ("elision.batch", "elision.features", "elision.methods")
    assert of_hub == code("features.audio_hf", within=within)
    assert of_librosa == code("features.audio", within=within)
