import os
from pathlib import Path

import pytest

from elision.provenance import contents


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project in which Snakemake has run, with two files of the user."""
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    Path("data").mkdir()
    Path("data/a.csv").write_text("one")
    Path("data/b.csv").write_text("two")
    return tmp_path


def of_all() -> str | None:
    return contents.files([Path("data/a.csv"), Path("data/b.csv")])


def older(path: str, text: str) -> None:
    """Replace a file by one of other content, the same size and an older time, as `rsync -a` does."""
    Path("new").write_text(text)
    os.utime("new", (1, 1))
    Path("new").replace(path)


def in_place(path: str, text: str) -> None:
    """Write other content of the same size into a file, and put its time back, as `cp -p` does."""
    before = Path(path).stat()
    Path(path).write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap() -> None:
    Path("data/a.csv").rename("data/c")
    Path("data/b.csv").rename("data/a.csv")
    Path("data/c").rename("data/b.csv")


CHANGES = {
    "older": lambda: older("data/a.csv", "new"),
    "in place": lambda: in_place("data/a.csv", "new"),
    "swapped": swap,
    "renamed": lambda: Path("data/a.csv").rename("data/c.csv"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("as_folder", [False, True])
def test_other_content_has_another_digest_whatever_its_time(folder, change, as_folder):
    look = (lambda: contents.files([Path("data")])) if as_folder else of_all
    for name in ("a", "b"):  # only the inodes tell them apart
        os.utime(f"data/{name}.csv", (5, 5))
    before = look()
    CHANGES[change]()
    assert look() != before


def test_a_file_that_is_touched_or_copied_has_the_same_digest(folder):
    before = of_all()
    os.utime("data/a.csv", (7, 7))
    assert of_all() == before
    Path("copy").write_bytes(Path("data/b.csv").read_bytes())
    Path("copy").replace("data/b.csv")
    assert of_all() == before


def test_a_file_is_read_once(folder, monkeypatch):
    read = []
    monkeypatch.setattr(contents, "sha256", lambda path: read.append(path.name) or path.read_text())
    first = of_all()
    assert of_all() == first
    assert sorted(read) == ["a.csv", "b.csv"]
    os.utime("data/a.csv", (7, 7))
    assert of_all() == first
    assert read[2:] == ["a.csv"]


def test_nothing_is_kept_where_snakemake_never_ran(folder):
    Path(".snakemake").rmdir()
    assert of_all() == of_all() is not None
    assert {path.name for path in folder.iterdir()} == {"data"}


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"data/a.csv": 3}', '{"data/a.csv": ["", ""]}'])
def test_a_damaged_list_of_checksums_is_made_again(folder, damage):
    before = of_all()
    Path(".snakemake/elision-checksums.json").write_text(damage)
    assert of_all() == before


def test_a_missing_file_has_no_digest(folder):
    assert contents.files([Path("data/a.csv"), Path("data/none.csv")]) is None


def test_hidden_files_of_a_folder_do_not_count(folder):
    before = contents.files([Path("data")])
    Path("data/.cache").mkdir()
    Path("data/.cache/download.lock").write_text("now")
    assert contents.files([Path("data")]) == before
    Path("data/tokenizer.json").write_text("{}")
    assert contents.files([Path("data")]) != before


def test_a_local_encoder_is_known_by_its_files(folder):
    before = contents.encoder("data")
    in_place("data/a.csv", "new")
    assert contents.encoder("data") not in (before, "")


@pytest.mark.parametrize(
    ("variable", "value", "hub"),
    [
        ("HF_HUB_CACHE", "{}/hub", "hub"),
        ("HF_HOME", "{}/home", "home/hub"),
        ("XDG_CACHE_HOME", "{}/xdg", "xdg/huggingface/hub"),
    ],
)
def test_a_hub_id_is_known_by_the_commit_of_its_snapshot(folder, monkeypatch, variable, value, hub):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value.format(folder))
    assert contents.encoder("google/bert") == ""
    main = folder / hub / "models--google--bert" / "refs" / "main"
    main.parent.mkdir(parents=True)
    main.write_text("0123abc")
    assert contents.encoder("google/bert") == "0123abc"


def test_the_hub_is_not_asked_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert contents.newest("google/some-bert") == ""
