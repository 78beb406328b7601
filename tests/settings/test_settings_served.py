"""A method that a dataset cannot serve is refused when the params are checked, or at the latest at prepare."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from elision.datasets._labels import LABELS_OF_ONE
from elision.datasets._prepare import prepare, read
from elision.errors import ElisionError
from elision.methods import check
from elision.provenance.recipe import Recipes
from elision.settings.params import (
    Params,
    columns,
    dataset_source,
    lacking,
    reads_text,
    requires,
    source_names,
    training_size,
)
from elision.task import split_columns

MMIN = {"source": "mmin", "root": "x", "classes": ["angry", "happy", "sad", "neutral"], "corpus": "iemocap"}


def params(entry, methods, **more):
    return Params.model_validate({"datasets": {"mine": entry}, "methods": methods, "seeds": [1], **more})


def test_what_a_method_requires_is_read_without_pytorch():
    assert (requires("text_only"), reads_text("text_only")) == (("text",), "tokens")
    assert requires("misa") == ()


def test_all_leaves_out_what_a_dataset_cannot_serve_and_says_so():
    found = params(MMIN, "all")
    assert "mmin" in found.variants and not {"text_only", "cenet", "mag_bert"} & set(found.variants)
    assert [line.split(":")[0] for line in found.left_out] == [
        "cenet",
        "cider",
        "dicmor",
        "gcnet",
        "imder",
        "mag_bert",
        "mctn",
        "momke",
        "niat",
        "text_only",
    ]
    assert "reads dialogues, and source mmin need not have any" in next(
        line for line in found.left_out if line.startswith("gcnet")
    )
    assert "requires text (token ids), and source mmin has none (dataset 'mine')" in found.left_out[0]
    assert params({"source": "demo"}, "all").left_out == [] == params(MMIN, ["mmin"]).left_out
    assert "text_only" in params({"source": "demo"}, "all").variants


def test_a_listed_method_that_a_dataset_cannot_serve_is_refused_when_the_params_are_checked():
    with pytest.raises(
        ElisionError, match=r"methods.text_only: text_only requires text \(token ids\), and dataset 'mi"
    ):
        check(params(MMIN, ["text_only", "mmin"]))
    check(params({"source": "demo"}, ["text_only"]))
    assert lacking(params(MMIN, ["mmin"]).datasets["mine"], "mmin") == []


@pytest.fixture
def folder(tmp_path):
    splits = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2
    rows = "".join(f"u{k},words,{k % 3},{split}\n" for k, split in enumerate(splits))
    (tmp_path / "clips.csv").write_text("id,text,label,split\n" + rows)
    return tmp_path


def test_a_modality_that_no_clip_has_is_told_at_prepare(folder):
    places = {"clips": folder / "c", "media": folder / "m", "store": folder / "s"}
    entry = {"source": "clips", "folder": str(folder)}
    prepare(params(entry, ["text_only"]), "mine", **places, provenance={})
    rows = (folder / "clips.csv").read_text().replace("words", "")
    wavfile.write(folder / "said.wav", 16000, np.ones(8000, np.int16))
    (folder / "clips.csv").write_text(rows.replace("id,text", "id,path").replace(",,", ",said.wav,"))
    with pytest.raises(
        ElisionError, match=r"methods.text_only: text_only requires text, but dataset 'mine' has audio; leave the "
    ):
        prepare(params(entry, ["text_only", "majority"]), "mine", **places, provenance={})
    prepare(params(entry, ["majority"]), "mine", **places, provenance={})


def test_more_batches_than_an_epoch_has_are_told_when_the_run_is_planned(folder):
    entry = {"source": "clips", "folder": str(folder)}
    asked = params(entry, [{"mine": {"method": "misa", "accumulate": 4, "batch_size": 2}}])
    assert training_size(asked, "mine") == 6
    with pytest.raises(ElisionError, match=r"methods.mine: accumulate is 4, but an epoch of .* only 3 of batch_size 2"):
        check(asked)
    check(params(entry, [{"mine": {"method": "misa", "accumulate": 3, "batch_size": 2}}]))
    assert training_size(params(entry | {"folder": "nowhere"}, ["misa"]), "mine") is None


EXAMPLES = Path(__file__).parents[1] / "datasets" / "source_examples"


def test_a_column_that_the_samples_lack_is_told_when_the_run_is_planned(folder):
    entry = {"source": "clips", "folder": str(folder)}
    table = (folder / "clips.csv").read_text().splitlines()
    (folder / "clips.csv").write_text(
        "\n".join([f"{table[0]},Session", *(f"{row},d{i}" for i, row in enumerate(table[1:]))])
    )

    def asked(cluster, folds=None, **other):
        first = entry | ({"folds": folds} if folds else {})
        content = {"datasets": {"mine": first, **other}, "methods": ["majority"], "statistics": {"cluster": cluster}}
        return Params.model_validate(content)

    wrong = r"cluster: unknown unit 'session' for dataset 'mine'; did you mean Session"
    with pytest.raises(ElisionError, match=wrong):
        check(asked("session"))
    for cluster in ("Session", "speaker", "video", "none", {}, {"mine": "Session"}):
        check(asked(cluster))
    # Each dataset has its own columns, and can have its own unit.
    other = {"source": "gcnet", "corpus": "mosi", "labels": "x.pkl", "features": "x"}
    with pytest.raises(ElisionError, match="unknown unit 'Session' for dataset 'other'"):
        check(asked("Session", other=other, mine=entry))
    with pytest.raises(ElisionError, match=wrong):
        check(asked({"mine": "session"}, other=other, mine=entry))
    with pytest.raises(ValueError, match=r"statistics\.cluster\.mime: unknown dataset 'mime'; did you mean mine"):
        asked({"mime": "session"})
    with pytest.raises(ElisionError, match=r"mine\.folds\.by: unknown column 'sessio'; did you mean Session"):
        check(asked("none", folds={"by": "sessio", "count": 2}))
    # What cannot be read yet is told at prepare.
    check(asked("session", mine=entry | {"folder": "nowhere"}))


def example_of(name, folder):
    """Make the files of a source's example, and return its entry."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder.mkdir()
    return example.make(folder)


@pytest.mark.parametrize("name", [name for name in source_names() if hasattr(dataset_source(name), "columns")])
def test_the_columns_that_a_source_promises_are_those_that_it_has(tmp_path, name):
    asked = params(example_of(name, tmp_path / "data"), ["majority"])
    samples, *_ = read(asked.datasets["mine"], tmp_path / "media", "mine")
    found, promised = set(samples), set(columns(asked, "mine"))
    assert found - promised <= {"split", "words", "fps", *LABELS_OF_ONE, *split_columns(samples)}
    assert promised - found <= {"split"}


@pytest.mark.parametrize("name", source_names())
@pytest.mark.parametrize("folds", [None, {"by": "id", "count": 2}])
def test_more_batches_than_an_epoch_has_are_told_at_prepare_whatever_the_source(tmp_path, name, folds):
    entry = example_of(name, tmp_path / "data") | ({"folds": folds} if folds else {})
    places = {"clips": tmp_path / "c", "media": tmp_path / "m", "store": tmp_path / "s"}
    classes = Params.model_validate({"datasets": {"mine": entry}, "methods": ["majority"]}).datasets["mine"].task
    method = {"method": "mult" if classes == "regression" else "mmin_ae", "accumulate": 200, "batch_size": 2}
    with pytest.raises(ElisionError) as caught:
        prepare(params(entry, [{"mine": method}]), "mine", **places, provenance={})
    told = r"methods\.mine: accumulate is 200, but an epoch of dataset 'mine' has only \d+ of batch_size 2 \(\d+ train"
    assert re.match(told + (r"ing samples? in fold-\d\)" if folds else "ing sample"), str(caught.value))
    assert not any(place.is_file() for place in places.values())


def test_a_default_that_a_small_dataset_with_folds_cannot_serve_is_told_at_prepare(folder):
    places = {"clips": folder / "c", "media": folder / "m", "store": folder / "s"}
    entry = {"source": "clips", "folder": str(folder), "folds": {"by": "id", "count": 5}}
    check(params(entry, ["mult"]))  # the folds are dealt at prepare
    with pytest.raises(ElisionError, match=r"methods.mult: accumulate is 8, but .* has only 1 of batch_size \d+ "):
        prepare(params(entry, ["mult"]), "mine", **places, provenance={})


def test_teachers_are_named_by_their_section(folder):
    places = {"clips": folder / "c", "media": folder / "m", "store": folder / "s"}
    entry = {"source": "clips", "folder": str(folder)}
    asked = params(entry, ["mmin"], teachers={"mmin_teacher": {"accumulate": 9}})
    for refusing in (lambda: check(asked), lambda: prepare(asked, "mine", **places, provenance={})):
        with pytest.raises(ElisionError, match=r"teachers.mmin_teacher: accumulate is 9, but .*\(6 training samples\)"):
            refusing()


def test_classes_are_part_of_what_is_prepared_only_where_they_say_which_labels_are_none(folder):
    def identity(**settings):
        entry = {"source": "clips", "folder": str(folder), "task": "classification", **settings}
        return Recipes(params(entry, ["majority"])).prepare("mine")["identity"]

    one, other = {"classes": ["a", "b"]}, {"classes": ["a", "none"]}
    assert identity(**one) == identity(**other)
    assert identity(skip_unlabelled=True, **one) != identity(skip_unlabelled=True, **other)
    assert identity(**one, scale=None) != identity(**one, columns={"text": None})
