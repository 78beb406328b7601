"""Runs are evaluated on what was extracted of corrupted clips, and on the clean clips for all else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from elision.corruption.clips import CorruptedClips
from elision.corruption.plan import Plan, conditions, draw
from elision.evaluation import predict as module
from elision.evaluation.predict import Evaluation
from elision.features.align import spans_of
from elision.methods.checks._bert import TinyBert
from elision.methods.layers.text_encoder import TextEncoder
from elision.settings.params import Params
from elision.store import Header, Sequences
from elision.training.loop import train
from elision.training.run import Run


@pytest.fixture(autouse=True)
def small_encoder(monkeypatch):
    def load(name: str, *, pooler: bool = False) -> TextEncoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return TextEncoder(TinyBert(vocabulary=2100), pooler=pooler)

    monkeypatch.setattr(TextEncoder, "load", load)


def clips_of(store, modality, changed):
    """The test clips at severity 1 as they are, and at severity 2 as ``changed`` makes each sequence."""
    rows = store.rows("test")
    clean, sequences = store.modalities[modality], {}
    for severity, change in ((1, lambda values: values), (2, changed)):
        sequences[severity, modality] = Sequences.of([change(clean[row]) for row in rows], clean.header)
    return CorruptedClips(store.samples["id"].iloc[rows].tolist(), sequences, [], {}, {})


def trained(store, folder, method, media, **overrides):
    kinds = {name: [0, *found.severities] for name, found in media.items()}
    settings = Params(
        datasets={"demo": {"source": "demo"}},
        methods=[{"mine": {"method": method, "epochs": 1, "batch_size": 4, "accumulate": 1, **overrides}}],
        corruption={"random": [0.0], "absent": False, "media": kinds},
        seeds=[3],
        train={"device": "cpu"},
    )
    run = Run(settings, "demo", "mine", "seed-3")
    spans = spans_of(store, where="test")[0] if overrides else None
    train(run, store=store, plan=None, folder=folder, recipe={"step": "train", "identity": "abc"}, spans=spans)
    corruption = settings.corruption_for("demo")
    plan = Plan(conditions(corruption, store.present), 1111, draw(store, corruption)[1], {})
    record = json.loads((folder / "run.json").read_text())
    weights = folder / "model.safetensors"
    return Evaluation(run, store=store, plan=plan, weights=weights, record=record, spans=spans, media=media)


def by_condition(table):
    return {key: rows["prediction"].to_numpy() for key, rows in table.groupby(["corruption", "level"])}


def test_clean_features_give_the_predictions_of_complete_data_and_corrupted_ones_do_not(store, tmp_path):
    media = {"white_noise": clips_of(store, "audio", lambda values: values + 50)}
    table = trained(store, tmp_path, "self_mm", media).predictions()
    found = by_condition(table)
    for level in (0.0, 1.0):
        np.testing.assert_array_equal(found["white_noise", level], found["random", 0.0])
    assert (found["white_noise", 2.0] != found["random", 0.0]).all()
    assert set(table.loc[table["level"] > 0, "modalities"]) == {"audio"}
    assert not table["empty"].any()


def test_vectors_are_made_anew_of_corrupted_words_of_test_samples_alone(store, tmp_path, monkeypatch):
    encoded = []

    def states(words, utterances, *, encoder, header, device, threads):
        assert len(words) == len(utterances)
        encoded.append([len(ids) for ids in utterances])
        return [np.repeat(ids[:, None] % 97, 3, 1).astype(np.float32) for ids in utterances]

    monkeypatch.setattr(module, "vectors_of", states)
    text = store.modalities["text"]
    vectors = Sequences.of(
        states([None] * len(text), list(text), encoder="", header=None, device="", threads=1),
        Header(modality="text_features", length=text.header.length, extractor="minilm"),
    )
    encoded.clear()
    store = replace(store, modalities={**store.modalities, "text_features": vectors})
    media = {"truncation": clips_of(store, "text", lambda ids: ids[[0, *range(2, len(ids))]])}
    evaluation = trained(store, tmp_path, "mmin_teacher", media)
    found = by_condition(evaluation.predictions())
    np.testing.assert_array_equal(found["truncation", 1.0], found["random", 0.0])
    assert (found["truncation", 2.0] != found["random", 0.0]).any()
    count = len(encoded)
    again = by_condition(evaluation.predictions())  # as for another checkpoint
    assert len(encoded) == count == 2  # once for each severity
    np.testing.assert_array_equal(again["truncation", 2.0], found["truncation", 2.0])
    tested = set(store.rows("test"))
    assert all((length > 0) <= (row in tested) for lengths in encoded for row, length in enumerate(lengths))


def test_words_are_aligned_anew_with_the_frames_that_are_left(store, tmp_path):
    media = {"dropped_frames": clips_of(store, "vision", lambda frames: frames[::2])}
    evaluation = trained(store, tmp_path, "cubemlp", media, alignment="words")
    found = by_condition(evaluation.predictions())
    np.testing.assert_array_equal(found["dropped_frames", 1.0], found["random", 0.0])
    assert np.isfinite(found["dropped_frames", 2.0]).all()
    assert (found["dropped_frames", 2.0] != found["random", 0.0]).any()


def test_samples_of_which_nothing_is_left_are_told(store, tmp_path):
    alone = replace(store, modalities={"audio": store.modalities["audio"]})
    media = {"muted": clips_of(alone, "audio", lambda values: np.full_like(values, np.nan))}
    table = trained(alone, tmp_path, "late_fusion", media).predictions()
    assert table.groupby("level")["empty"].all().to_dict() == {0.0: False, 1.0: False, 2.0: True}
