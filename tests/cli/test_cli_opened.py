"""A workspace opens what the params ask for, and refuses what was made otherwise, whichever artifact it is."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from elision import cli
from elision.cli.opened import Workspace, expect, known, stamp
from elision.errors import ElisionError
from elision.training.run import Run

NAME, RUN = "ours", "seed-1"
PARAMS = {
    "datasets": {
        "mine": {"source": "arrays", "table": "table.csv", "audio": {"file": "audio.npy"}, "corpus": "demo"},
    },
    "methods": [{NAME: {"method": "majority", "alignment": "words"}}],
    "seeds": [1, 2],
    "train": {"device": "cpu", "threads": 1},
    "corruption": {"random": [0.0, 0.5], "absent": False},
}


def elision(patch, *words: str) -> None:
    patch.setattr(sys, "argv", ["elision", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A dataset with its test conditions, and one finished run; no test changes anything in it."""
    folder = tmp_path_factory.mktemp("opened")
    random = np.random.default_rng(3)
    splits = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3
    rows = [f"s{i},{(-1) ** i},{split},some words" for i, split in enumerate(splits)]
    (folder / "table.csv").write_text("\n".join(["id,label,split,text", *rows]) + "\n")
    np.save(folder / "audio.npy", random.normal(size=(len(splits), 5, 4)).astype(np.float32))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ELISION_PARAMS", raising=False)
        for verb in ("prepare", "align", "encode", "corrupt"):
            elision(patch, verb, "--dataset", "mine")
        for verb in ("train", "evaluate"):
            elision(patch, verb, "--dataset", "mine", "--method", NAME, "--run", RUN)
    return folder


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.chdir(project)


def workspace(tmp_path, **sections) -> Workspace:
    """A workspace of the same results under changed params."""
    params = {
        name: {**value, **sections.pop(name, {})} if isinstance(value, dict) else value
        for name, value in PARAMS.items()
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, **sections}))
    return Workspace(tmp_path / "params.yaml", None)


def this(opened: Workspace) -> Run:
    return Run(opened.params, "mine", NAME, RUN)


OPENED = {
    "store": lambda opened: opened.store("mine"),
    "samples": lambda opened: opened.samples("mine"),
    "text vectors": lambda opened: opened.with_vectors("mine", Workspace(Path("params.yaml"), None).store("mine")),
    "plan": lambda opened: opened.plan("mine", Workspace(Path("params.yaml"), None).store("mine")),
    "spans": lambda opened: opened.spans(this(opened), Workspace(Path("params.yaml"), None).store("mine")),
    "record": lambda opened: opened.record("mine", NAME, RUN, Workspace(Path("params.yaml"), None).store("mine")),
    "history": lambda opened: opened.history("mine", NAME, RUN),
    "predictions": lambda opened: next(opened.predictions({})),
}
CHANGED = {
    "another store": {"datasets": {"mine": {**PARAMS["datasets"]["mine"], "max_length": 7}}},
    "other conditions": {"corruption": {"random": [0.0, 0.4], "absent": False}},
    "another training": {"train": {"device": "cpu", "threads": 1, "redraw": "never"}},
    "other threads": {"train": {"device": "cpu", "threads": 2}},
}
STALE = {"another store": {*OPENED}, "other conditions": {"plan", "predictions"}}
STALE["another training"] = {"record", "history", "predictions"}
STALE["other threads"] = {"text vectors", *STALE["another training"]}


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("change", [None, *CHANGED])
def test_an_artifact_is_opened_if_the_params_ask_for_it_and_else_refused(tmp_path, name, change):
    opened = workspace(tmp_path, **CHANGED.get(change, {}))
    if name in STALE.get(change, ()):
        with pytest.raises(ElisionError, match="does not fit the current params"):
            OPENED[name](opened)
    else:
        assert OPENED[name](opened) is not None


@pytest.mark.parametrize("name", ["plan", "spans", "record", "text vectors"])
def test_an_artifact_of_other_data_is_refused(project, name):
    opened = Workspace(Path("params.yaml"), None)
    store = opened.store("mine")
    store.provenance["data"] = "newer"
    ways = {
        "plan": lambda: opened.plan("mine", store),
        "spans": lambda: opened.spans(this(opened), store),
        "record": lambda: opened.record("mine", NAME, RUN, store),
        "text vectors": lambda: opened.with_vectors("mine", store),
    }
    with pytest.raises(ElisionError, match="was made from data that have changed since"):
        ways[name]()


def test_a_store_has_text_vectors_where_the_method_reads_them_and_has_none_of_its_own(tmp_path):
    opened = workspace(tmp_path, methods=["majority", "mmin", "self_mm"])
    store = opened.store("mine")
    nothing, vectors, tokens = (Run(opened.params, "mine", name, RUN) for name in ("majority", "mmin", "self_mm"))
    assert opened.seen(tokens, store) is opened.seen(nothing, store) is store
    seen = opened.seen(vectors, store)
    assert set(seen.modalities) == {*store.modalities, "text_features"}
    assert np.array_equal(seen.modalities["text_features"].lengths, store.modalities["text"].lengths)
    assert vectors.sizes(seen).text == seen.modalities["text_features"].width == 384
    assert "encode" in seen.provenance["made_with"] and "encode" not in store.provenance.get("made_with", {})
    assert opened.seen(vectors, seen) is seen


def test_predictions_of_one_dataset_are_made_from_the_same_data():
    opened = Workspace(Path("params.yaml"), None)
    data = {}
    next(opened.predictions(data))
    assert data == {"mine": opened.samples("mine")[1]}
    with pytest.raises(ElisionError, match="was made from data that have changed since"):
        next(opened.predictions({"mine": "older"}))


def test_a_step_that_was_planned_with_other_params_or_code_does_not_begin():
    recipe = Workspace(Path("params.yaml"), None).recipes.corrupt("mine")
    assert expect(recipe, "") is expect(recipe, recipe["identity"]) is recipe
    assert set(stamp(recipe, recipe["identity"])) - set(recipe) == {"versions"}
    with pytest.raises(ElisionError, match="'corrupt' changed while the workflow was running"):
        stamp(recipe, "other")


def test_a_name_that_the_params_do_not_have_is_answered_with_those_that_they_have():
    opened = Workspace(Path("params.yaml"), None)
    assert known("mine", ["mine"], "dataset") == "mine"
    opened.check_run("mine", NAME, RUN, among=[NAME])
    for names, told in (
        (("mime", NAME, RUN), "no dataset 'mime'"),
        (("mine", "our", RUN), "no method 'our'"),
        (("mine", NAME, "seed-3"), "no run 'seed-3'"),
    ):
        with pytest.raises(ElisionError, match=told):
            opened.check_run(*names, among=[NAME])


def test_rows_of_methods_that_were_built_without_their_paper_are_marked(tmp_path):
    opened = workspace(tmp_path, methods=[*PARAMS["methods"], {"theirs": {"method": "corrkd"}}])
    marked = {name: marks.get("known_from") for (_, name), marks in opened.marks({}).items()}
    text = "its abstract, the captions of its figures and descriptions by others"
    assert marked == {"theirs": text, "corrkd_teacher": text}
