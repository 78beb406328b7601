import hashlib
import json

import pytest

from elision.errors import ElisionError
from elision.provenance.layout import Layout
from elision.provenance.manifest import collect


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return [folder / name for name in names]


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


@pytest.fixture
def models(layout):
    return layout.root / "models"


def test_the_manifest_lists_checksums_and_the_rest_moves_away(layout, models):
    wanted = make(models, "a/1", "b/2")
    make(models, "a/left.over", "a/.1.f8w_k2xz.parquet", ".tmpQx3", "c/gone", "media/clip.mp4")
    collect(layout, "models", wanted, folders=[models / "media"])
    lines = json.loads((models / "MANIFEST").read_text())
    assert lines == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a/1", "b/2", "media/clip.mp4")}
    found = {path.relative_to(models).as_posix() for path in models.rglob("*")}
    assert found == {"MANIFEST", "a", "a/1", "b", "b/2", "media", "media/clip.mp4"}
    aside = {path.relative_to(layout.unused).as_posix() for path in layout.unused.rglob("*") if path.is_file()}
    assert aside == {"unfinished/models/a/left.over", "unfinished/models/c/gone"}


def test_adding_and_taking_back_gives_the_same_manifest(layout, models):
    wanted = make(models, "a/1")
    collect(layout, "models", wanted, folders=[])
    first = (models / "MANIFEST").read_bytes()
    collect(layout, "models", wanted + make(models, "a/2"), folders=[])
    assert (models / "MANIFEST").read_bytes() != first
    collect(layout, "models", wanted, folders=[])
    assert (models / "MANIFEST").read_bytes() == first


def test_nothing_moves_when_a_file_is_missing(layout, models):
    (kept,) = make(models, "old")
    with pytest.raises(ElisionError, match="new does not exist"):
        collect(layout, "models", [models / "new"], folders=[])
    assert kept.exists()
