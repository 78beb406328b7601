"""The teachers of RAMER, from the training of its encoders to predictions, on classes with unlabelled samples."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elision.corruption.plan import Plan, conditions, draw
from elision.errors import ElisionError
from elision.evaluation.metrics import emotion_family_name
from elision.evaluation.predict import Evaluation
from elision.files import sha256
from elision.methods.layers.retrieval import Database
from elision.settings.params import Params
from elision.store import Sequences, Store
from elision.training.index import index
from elision.training.loop import Starts, train
from elision.training.run import Run

RUN = "seed-3"
SIZES = {"epochs": 2, "batch_size": 4, "hidden": 12, "feed_forward": 16}
CLASSES = ["sad", "glad"]
FAMILY = emotion_family_name(tuple(CLASSES))


@pytest.fixture
def classes(store) -> Store:
    """The small store with classes and vectors of text; its last two training samples have no label."""
    samples = store.samples.assign(label=np.where(store.samples["label"] < 0, *CLASSES))
    samples["label"] = samples["label"].astype(object)
    samples.loc[10:11, "split"], samples.loc[10:11, "label"] = "unlabelled", None
    text = store.modalities["text"]
    values = np.random.default_rng(0).normal(size=(len(text.values), 6)).astype(np.float32)
    modalities = {**store.modalities, "text_features": Sequences(values, text.offsets, text.header)}
    return Store(samples, modalities, {**store.provenance, "classes": CLASSES})


def params(**overrides) -> Params:
    return Params(
        datasets={"demo": {"source": "demo", "task": "classification", "classes": CLASSES, "cuts": [0]}},
        methods=[{"mine": {"method": "ramer", "top_k": 2, **SIZES, **overrides}}],
        teachers={"ramer_encoders": SIZES},
        seeds=[3],
        train={"device": "cpu"},
    )


def trained(settings, store, folder, method, starts=None):
    train(
        Run(settings, "demo", method, RUN),
        store=store,
        plan=None,
        folder=folder,
        recipe={"identity": method},
        starts=starts,
    )
    return folder / "model.safetensors", json.loads((folder / "run.json").read_text())


def indexed(settings, store, folder):
    weights, record = trained(settings, store, folder / "teacher", "ramer_encoders")
    index(
        Run(settings, "demo", "ramer_encoders", RUN),
        store=store,
        weights=weights,
        record=record,
        folder=folder / "database",
        provenance={"identity": "index"},
    )
    database, provenance = Database.read(folder / "database", store.samples["id"].tolist())
    return weights, database, provenance


def test_the_database_holds_training_and_unlabelled_samples_and_no_other(classes, tmp_path):
    weights, database, provenance = indexed(params(), classes, tmp_path)
    assert database.rows.tolist() == list(range(12))
    assert database.labelled.tolist() == [True] * 10 + [False] * 2
    assert provenance == {"identity": "index", "data": "fixture", "weights": sha256(weights)}
    assert all(vectors.shape == (12, 12) and torch.isfinite(vectors).all() for vectors in database.vectors.values())


def test_the_database_is_the_same_to_the_bit_and_does_not_depend_on_test_samples(classes, tmp_path):
    _, first, _ = indexed(params(), classes, tmp_path / "first")
    samples = classes.samples.copy()
    samples.loc[samples["split"] == "test", "label"] = "sad"
    audio = classes.modalities["audio"]
    values = np.array(audio.values)
    start = audio.offsets[np.flatnonzero(samples["split"] == "test")[0]]
    values[start:] += 5
    changed = Store(
        samples, {**classes.modalities, "audio": Sequences(values, audio.offsets, audio.header)}, classes.provenance
    )
    _, second, _ = indexed(params(), changed, tmp_path / "second")
    assert all(torch.equal(first.vectors[name], second.vectors[name]) for name in first.vectors)


def test_a_method_starts_from_its_teacher_and_is_evaluated_without_it(classes, tmp_path):
    settings = params(database="all")
    teacher, database, _ = indexed(settings, classes, tmp_path)
    starts = Starts({"ramer_encoders": teacher}, database)
    weights, record = trained(settings, classes, tmp_path / "run", "mine", starts)
    frozen, encoders = load_file(weights), load_file(teacher)
    queries = {name: tensor for name, tensor in frozen.items() if "query_encoders." in name}
    assert queries
    for name, tensor in queries.items():
        assert torch.equal(tensor, encoders[name.replace("query_encoders.", "encoders.")]), name

    listed, drawn = draw(classes, settings.corruption_for("demo"))
    plan = Plan(conditions(settings.corruption_for("demo"), classes.present), settings.corruption.seed, drawn, {})
    assert listed == plan.conditions
    once, again = (
        Evaluation(
            Run(settings, "demo", "mine", RUN),
            store=classes,
            plan=plan,
            weights=weights,
            record=record,
            database=database,
        ).predictions()
        for _ in range(2)
    )
    assert once.equals(again)
    assert set(once["prediction"]) <= set(CLASSES)
    assert np.isfinite(once[[f"logit.{name}" for name in CLASSES]].to_numpy()).all()


def test_a_database_that_is_too_small_is_refused_before_training(classes, tmp_path):
    settings = params(database="unlabelled")
    teacher, database, _ = indexed(settings, classes, tmp_path)
    with pytest.raises(ElisionError, match="top_k asks for 2 neighbours, but the database has 2 unlabelled samples"):
        trained(settings, classes, tmp_path / "run", "mine", Starts({"ramer_encoders": teacher}, database))
