"""Settings of extraction: models of the hub, and features of one dataset alone."""

import pytest

from elision.errors import ElisionError
from elision.settings.params import AudioFeatures, Features, TextFeatures, VisionFeatures, checked, encoded

HUBERT = {"extractor": "hf", "model": "facebook/hubert-base-ls960"}
CLIP = {"extractor": "hf", "model": "openai/clip-vit-base-patch32"}


def params(features=None, datasets=None, **more):
    content = {
        "datasets": datasets or {"demo": {"source": "demo"}},
        "methods": ["majority"],
        "features": features or {},
    }
    return checked({**content, **more}, "params.yaml")


def test_a_speech_model_has_the_rates_of_speech_models_unless_others_are_given():
    audio = params({"audio": HUBERT}).features.audio
    assert (audio.sample_rate, audio.hop_length, audio.layers) == (16000, 320, (-4, -3, -2, -1))
    assert params({"audio": {**HUBERT, "hop_length": 160}}).features.audio.hop_length == 160
    assert (AudioFeatures().sample_rate, AudioFeatures().hop_length) == (22050, 512)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"audio": {"extractor": "hf"}}, "features.audio: extractor: hf needs a model"),
        ({"text": {"extractor": "hf"}}, "features.text: extractor: hf needs a model"),
        ({"audio": {**HUBERT, "mfcc": 13}}, "features.audio: mfcc belongs to another extractor than hf"),
        ({"audio": {"model": "a/b"}}, "features.audio: model needs extractor: hf; leave out model"),
        ({"vision": {"extractor": "pyfeat", "layers": [-1]}}, "features.vision: layers needs extractor: hf"),
        ({"text": {"revision": "main"}}, "features.text: revision needs extractor: hf"),
        ({"audio": {"batch_size": 2}}, "features.audio: batch_size needs extractor: hf"),
        ({"audio": {**HUBERT, "layers": [-1, -1]}}, "features.audio.layers: duplicate entry: -1"),
        ({"audio": {**HUBERT, "layers": []}}, "features.audio.layers: "),
        ({"audio": {**HUBERT, "revision": "../a"}}, "features.audio.revision: "),
        ({"audio": {**HUBERT, "device": "gpu"}}, "features.audio.device: "),
        ({"text": {**HUBERT, "pool": "mean"}}, "features.text.pool: unknown key"),
        ({"vision": {**CLIP, "pool": "mean", "centre": "clip"}}, "features.vision: centre: clip subtracts the mean"),
        ({"vision": {**CLIP, "pool": "mean", "fill": "last"}}, "features.vision: fill: last has no effect"),
    ],
)
def test_settings_that_have_no_effect_are_refused(features, message):
    with pytest.raises(ElisionError, match=message):
        params(features)


def test_what_decides_values_has_no_setting_of_another_extractor_or_of_the_machine():
    audio, vision = AudioFeatures(**HUBERT, device="cpu"), VisionFeatures(**CLIP)
    assert {"mfcc", "chroma", "f0_min", "f0_max", "device"}.isdisjoint(audio.described())
    assert audio.described()["layers"] == [-4, -3, -2, -1]
    assert vision.described() == VisionFeatures(**CLIP, device="cuda:1").described()
    assert {"model", "pool", "batch_size", "extractor"}.isdisjoint(AudioFeatures().described())
    assert {"model", "pool"}.isdisjoint(VisionFeatures().described())
    assert TextFeatures(**HUBERT).tokens() == TextFeatures().tokens()
    assert not TextFeatures().vectors()
    for section in (audio, vision, AudioFeatures(), VisionFeatures()):  # headers are read back
        assert type(section).model_validate(section.described()).described() == section.described()


@pytest.mark.parametrize(
    ("features", "device"),
    [
        ({}, {"text": "cpu", "audio": "cpu", "vision": "cpu"}),
        ({"vision": {"extractor": "pyfeat"}}, {"text": "cpu", "audio": "cpu", "vision": "auto"}),
        (
            {"audio": {**HUBERT, "device": "cuda:1"}, "vision": CLIP},
            {"text": "cpu", "audio": "cuda:1", "vision": "auto"},
        ),
    ],
)
def test_the_device_of_a_modality_is_that_of_its_extractor(features, device):
    found = Features.model_validate(features)
    assert {modality: found.device_of(modality) for modality in device} == device


def test_features_of_a_dataset_replace_those_of_all_modality_by_modality():
    found = params(
        {"audio": {"mfcc": 13}, "text": {"max_length": 30}, "shards": 2},
        {
            "plain": {"source": "demo"},
            "hubert": {"source": "demo", "features": {"audio": HUBERT}},
            "clip": {"source": "clips", "folder": "data/mine", "features": {"vision": CLIP, "text": {"frozen": True}}},
        },
    )
    plain, hubert, clip = (found.features_for(name) for name in found.datasets)
    assert plain == found.features
    assert hubert.audio.hub and hubert.audio.mfcc == 20
    assert hubert.text == plain.text and hubert.vision == plain.vision
    assert clip.vision.hub and clip.audio.mfcc == 13
    assert clip.text.max_length == 50  # replaced as a whole
    assert {each.shards for each in (plain, hubert, clip)} == {2}


def test_features_of_a_dataset_are_checked_where_they_are_and_sources_of_features_have_none():
    with pytest.raises(ElisionError, match=r"datasets.demo.features.audio: extractor: hf needs a model"):
        params(datasets={"demo": {"source": "demo", "features": {"audio": {"extractor": "hf"}}}})
    with pytest.raises(ElisionError, match=r"datasets.demo.features.shards: unknown key; .*text, audio, vision"):
        params(datasets={"demo": {"source": "demo", "features": {"shards": 3}}})
    arrays = {"source": "arrays", "table": "a.csv", "features": {"audio": HUBERT}}
    with pytest.raises(ElisionError, match=r"datasets.demo.features: unknown key"):
        params(datasets={"demo": arrays})


def test_a_dataset_cannot_be_tested_on_one_that_is_extracted_otherwise():
    one = {"source": "demo", "test_on": "other"}
    other = {"source": "demo", "features": {"audio": HUBERT}}
    with pytest.raises(ElisionError, match="the audio of one and of other is extracted in two ways"):
        params(datasets={"one": one, "other": other})
    params(datasets={"one": {**one, "features": {"audio": HUBERT}}, "other": other})


def test_vectors_of_a_model_of_the_hub_are_made_though_no_method_reads_them():
    text = {"extractor": "hf", "model": "roberta-base"}
    found = params(datasets={"one": {"source": "demo", "features": {"text": text}}, "other": {"source": "demo"}})
    assert encoded(found, "one")
    assert not encoded(found, "other")
