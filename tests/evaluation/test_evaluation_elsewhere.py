"""A dataset that tests what was trained on another."""

import json
from dataclasses import replace

import numpy as np
import pytest

from elision.corruption.plan import Plan, conditions, draw
from elision.errors import ElisionError
from elision.evaluation.elsewhere import as_trained
from elision.evaluation.predict import Evaluation
from elision.settings.params import Params
from elision.store import Sequences
from elision.training.loop import train
from elision.training.run import Run

NAMES = ("here", "there")


def changed(store, name, *, length=None, width=None, scale=1.0):
    """A store of which a modality is another."""
    old = store.modalities[name]
    values = [scale * (values if width is None else values[:, :width]) for values in old]
    header = old.header.model_copy(update={"length": length or old.header.length})
    return replace(store, modalities={**store.modalities, name: Sequences.of(values, header)})


def test_a_store_is_padded_as_that_of_the_training_and_nothing_else_changes(store):
    tested = changed(changed(store, "audio", length=8), "vision", scale=2.0)
    seen = as_trained(store, tested, names=NAMES)
    for name, sequences in seen.modalities.items():
        assert sequences.header.length == store.modalities[name].header.length
        assert np.array_equal(sequences.values, tested.modalities[name].values, equal_nan=sequences.values.ndim == 2)
    assert seen.samples is tested.samples


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda s: changed(s, "audio", width=3), r"dimensions of audio: 4 \(here\) and 3 \(there\)"),
        (
            lambda s: replace(s, modalities={n: m for n, m in s.modalities.items() if n != "vision"}),
            r"modalities: text, audio, vision \(here\) and text, audio \(there\)",
        ),
        (
            lambda s: replace(s, provenance={**s.provenance, "classes": ["sad", "happy"]}),
            r"classes: none \(here\) and sad, happy \(there\)",
        ),
        (
            lambda s: replace(
                s,
                modalities={
                    **s.modalities,
                    "text": replace(
                        s.modalities["text"],
                        header=s.modalities["text"].header.model_copy(update={"extractor": "bert"}),
                    ),
                },
            ),
            r"text: tokens of minilm \(here\) and tokens of bert \(there\)",
        ),
    ],
)
def test_datasets_that_differ_are_refused_with_what_differs(store, change, told):
    with pytest.raises(ElisionError, match=told) as error:
        as_trained(store, change(store), names=NAMES)
    assert "leave there out of test_on" in str(error.value)


def test_a_sequence_that_is_longer_than_those_of_the_training_is_refused(store):
    short = changed(store, "audio", length=5)
    longest = max(map(len, store.modalities["audio"]))
    with pytest.raises(ElisionError, match=f"audio has up to {longest} positions in there, and at most 5 in here"):
        as_trained(short, store, names=NAMES)


def test_dialogues_of_more_speakers_than_those_of_the_training_are_refused(store, tmp_path):
    names = [f"dialogue {i // 3}" for i in range(len(store.samples))]
    spoken = store.samples.assign(dialogue=names, position=range(len(names)))
    here, there = (replace(store, samples=spoken.assign(speaker=who)) for who in ("F", ["F", "M"] * 12))
    settings = Params(
        datasets={"here": {"source": "demo", "test_on": "there"}, "there": {"source": "demo"}},
        methods=[{"gcnet": {"epochs": 1, "batch_size": 4}}],
        corruption={"random": [0.0]},
        seeds=[3],
        train={"device": "cpu"},
    )
    run = Run(settings, "here", "gcnet", "seed-3", "there")
    train(run, store=here, plan=None, folder=tmp_path, recipe={"step": "train", "identity": "abc"})
    record = json.loads((tmp_path / "run.json").read_text())
    plan = Plan(conditions(settings.corruption_for("there"), there.present), 1111, {}, {})
    with pytest.raises(ElisionError, match="a dialogue of there has 2 speakers, and gcnet was trained with at most 1"):
        Evaluation(run, store=there, plan=plan, weights=tmp_path / "model.safetensors", record=record)


def test_the_predictions_use_the_scales_and_weights_of_the_training_and_the_masks_of_the_test(store, tmp_path):
    settings = Params(
        datasets={"here": {"source": "demo", "test_on": "there"}, "there": {"source": "demo"}},
        methods=[{"late_fusion": {"epochs": 1, "batch_size": 4}}],
        corruption={"random": [0.0, 0.5]},
        seeds=[3],
        train={"device": "cpu"},
    )
    run = Run(settings, "here", "late_fusion", "seed-3")
    train(run, store=store, plan=None, folder=tmp_path, recipe={"step": "train", "identity": "abc"})
    record = json.loads((tmp_path / "run.json").read_text())
    tested = changed(store, "audio", scale=3.0)
    listed = conditions(settings.corruption_for("there"), tested.present)
    plan = Plan(listed, 1111, draw(tested, settings.corruption_for("there"))[1], {})

    def evaluation(run, store):
        return Evaluation(run, store=store, plan=plan, weights=tmp_path / "model.safetensors", record=record)

    own, other = (
        evaluation(run, store),
        evaluation(Run(settings, "here", "late_fusion", "seed-3", "there"), as_trained(store, tested, names=NAMES)),
    )
    mean, std = (np.array(record["scales"]["audio"][key], np.float32) for key in ("mean", "std"))
    frames = np.concatenate([tested.modalities["audio"][row] for row in tested.rows("test", 0)])
    np.testing.assert_array_equal(other.data._flat["audio"].values.numpy(), (frames - mean) / std)
    tables = own.predictions(), other.predictions()
    columns = ["id", "corruption", "level", "modalities", "label"]
    assert tables[0][columns].equals(tables[1][columns])
    assert not np.allclose(tables[0]["prediction"], tables[1]["prediction"])
    # The same data give the same predictions, whatever the name of the dataset.
    again = evaluation(Run(settings, "here", "late_fusion", "seed-3", "there"), as_trained(store, store, names=NAMES))
    assert again.predictions().equals(tables[0])
