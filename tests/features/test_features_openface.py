"""Clips whose vision is read from the CSV files of OpenFace 2."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from elision.datasets import clips
from elision.datasets._prepare import prepare
from elision.errors import ElisionError
from elision.evaluation.ask import _extractors
from elision.features.shards import assemble, extract, merge
from elision.provenance.recipe import Recipes
from elision.settings.params import Params
from elision.store import Store, read_sequences, read_table

GUIDE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
CSV = re.search(r"`data/interviews/openface/kim_01.csv`[^\n]*\n\n```\n(.*?)```", GUIDE, re.DOTALL)[1]
ENTRY = yaml.safe_load(re.search(r"```yaml\n(datasets:\n  interviews:.*?)```", GUIDE, re.DOTALL)[1])["datasets"]
RECIPE = {"identity": "i"}
IDS = ["kim_01", "lee_01", "max_01", "ann_01"]
SPLITS = ("train", "valid", "test", "train")
VALUES = np.array([[0.05, 0.31, 0], [np.nan] * 3, [0.06, 0.35, 1]], np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The example of the guide, of which the last clip has no file of OpenFace."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/interviews/openface")
    folder.mkdir(parents=True)
    rows = [f"{name},so good,{k - 1.5},{split}" for k, (name, split) in enumerate(zip(IDS, SPLITS, strict=True))]
    Path("data/interviews/clips.csv").write_text("\n".join(["id,text,label,split", *rows]))
    for name in IDS[:3]:
        (folder / f"{name}.csv").write_text(CSV)
    return folder


def params(**features):
    return Params(datasets=ENTRY, methods=["majority"], features={"shards": 2, **features})


def prepared(**features) -> Params:
    made = params(**features)
    prepare(
        made, "interviews", clips=Path("clips.parquet"), media=Path("media"), store=Path("store"), provenance=RECIPE
    )
    return made


def vision(**features):
    """Prepare and extract vision in two shards, and return the merged sequences."""
    made = prepared(**features)
    common = {"clips": Path("clips.parquet"), "features": made.features}
    for shard in range(2):
        output = Path(f"vision-{shard}.safetensors")
        extract("vision", clips_recipe=RECIPE, shard=shard, output=output, provenance=RECIPE, **common)
    shards = [Path(f"vision-{shard}.safetensors") for shard in range(2)]
    merge("vision", shards, output=Path("store/vision.safetensors"), recipe=RECIPE, **common)
    return read_sequences(Path("store/vision.safetensors"))


def test_the_example_of_the_guide_is_read_value_by_value(here, caplog):
    with caplog.at_level(logging.INFO):
        found = vision()
    for k in range(3):
        np.testing.assert_array_equal(found[k], VALUES)
    assert found.lengths.tolist() == [3, 3, 3, 0]
    assert found.header.features == ["gaze_0_x", "AU12_r", "AU45_c"]
    assert (found.header.rate, found.header.extractor, found.header.length) == (25.0, "OpenFace 2 (CSV files)", 3)
    assert "vision: absent from 1 clip without a file of OpenFace: 'ann_01'" in caplog.text


def test_the_store_is_whole_and_holds_no_path(here):
    vision()
    sequences = {"vision": Path("store/vision.safetensors")}
    output = Path("store/samples.parquet")
    settings = params().datasets["interviews"]
    common = {"settings": settings, "clips": Path("clips.parquet"), "output": output}
    assemble(modalities=sequences, recipes={"vision": RECIPE}, provenance=RECIPE, **common)
    store = Store.open(Path("store"))
    assert store.samples["id"].tolist() == IDS and not [name for name in store.samples if "openface" in name]


@pytest.mark.parametrize("centre", ["clip", "speaker"])
def test_vision_may_be_centred(here, centre):
    found = vision(vision={"centre": centre})
    np.testing.assert_allclose(np.nanmean(found[0], axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found[0][0, 0], -0.005, atol=1e-6)


def test_frames_without_success_may_be_filled(here):
    plain, found = vision(), vision(vision={"fill": "last"})
    lost = np.isnan(plain[0]).any(axis=1)
    assert lost.any() and not np.isnan(found[0][np.flatnonzero(~lost)[0] :]).any()
    np.testing.assert_array_equal(found[0][~lost], plain[0][~lost])
    assert found.header.settings["fill"] == "last"
    assert {each["filled_frames"] for each in found.header.facts.values()} == {int(lost[np.argmin(lost) :].sum())}


def test_every_file_is_an_input_and_its_content_is_part_of_the_identity(here):
    settings = params().datasets["interviews"]
    assert set(clips.inputs(settings)) == {Path("data/interviews/clips.csv"), *here.glob("*.csv")}
    before = Recipes(params()).extract("interviews", "vision")["identity"]
    prepared()
    data = read_table(Path("clips.parquet"))[1]["data"]
    (here / "lee_01.csv").write_text(CSV.replace("0.35", "0.36"))
    assert Recipes(params()).extract("interviews", "vision")["identity"] != before
    prepared()
    assert read_table(Path("clips.parquet"))[1]["data"] != data, "shards that were made earlier are not used again"


def test_other_columns_or_another_kind_of_file_are_refused(here):
    (here / "lee_01.csv").write_text(CSV.replace("AU45_c", "AU45_r"))
    with pytest.raises(ElisionError, match=r"clip 'lee_01': .* has other columns than the file of clip 'kim_01'"):
        vision()
    (here / "lee_01.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ElisionError, match="is no file of OpenFace 2: there are no columns timestamp, confidence"):
        vision()
    (here / "lee_01.csv").write_text(CSV.replace("0.35", "-nan(ind)"))
    with pytest.raises(ElisionError, match="holds nan or inf in a frame with success; run OpenFace"):
        vision()


def test_a_folder_without_any_file_of_the_clips_is_refused(here):
    for path in here.glob("*.csv"):
        path.rename(path.with_stem(f"{path.stem}_of"))
    with pytest.raises(ElisionError, match=r"openface: there is no file kim_01\.csv, and none of any other clip"):
        prepared()


def test_a_model_of_these_features_is_not_asked_about_clips(here):
    record = SimpleNamespace(sequences={"vision": vision().header}, present=["vision"])
    with pytest.raises(ElisionError, match=r"model: the vision of the training came from CSV files of OpenFace"):
        _extractors(SimpleNamespace(record=record, folder=Path("model"), accept_code=""), ["vision"])
