import hashlib
import json

import pytest

from elision.errors import ElisionError
from elision.manifest import collect


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return [folder / name for name in names]


def test_the_manifest_lists_checksums_and_the_rest_is_deleted(tmp_path):
    wanted = make(tmp_path, "a/1", "b/2")
    make(tmp_path, "a/left.over", "a/.1.f8w_k2xz.parquet", ".tmpQx3", "c/gone", "media/clip.mp4")
    collect(tmp_path, wanted, folders=[tmp_path / "media"])
    lines = json.loads((tmp_path / "MANIFEST").read_text())
    assert lines == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a/1", "b/2", "media/clip.mp4")}
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"MANIFEST", "a", "a/1", "b", "b/2", "media", "media/clip.mp4"}


def test_adding_and_taking_back_gives_the_same_manifest(tmp_path):
    wanted = make(tmp_path, "a/1")
    collect(tmp_path, wanted, folders=[])
    first = (tmp_path / "MANIFEST").read_bytes()
    collect(tmp_path, wanted + make(tmp_path, "a/2"), folders=[])
    assert (tmp_path / "MANIFEST").read_bytes() != first
    collect(tmp_path, wanted, folders=[])
    assert (tmp_path / "MANIFEST").read_bytes() == first


def test_nothing_is_deleted_when_a_file_is_missing(tmp_path):
    (kept,) = make(tmp_path, "old")
    with pytest.raises(ElisionError, match="new: no such file"):
        collect(tmp_path, [tmp_path / "new"], folders=[])
    assert kept.exists()
