import errno
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from elision import pickles
from elision.cli import importing
from elision.errors import ElisionError
from elision.settings import params

REPOSITORY = Path(__file__).parents[2]

TABLE = """id,path,text,label,split
a,media/a.wav,I loved it,2.5,train
b,media/b.wav,not at all,-1,valid
c,,only words,0.4,test
"""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A commit with what the repository says of Git and DVC; the working folder."""
    folder = tmp_path / "project"
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "data/.gitignore", "data/README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    monkeypatch.chdir(folder)
    run("git", "init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "start")
    return folder


@pytest.fixture
def clips(tmp_path):
    """A folder of two sounds, a transcript and something else, outside the project."""
    folder = tmp_path / "My clips"
    (folder / "media").mkdir(parents=True)
    for name in "ab":
        soundfile.write(folder / "media" / f"{name}.wav", np.random.default_rng(0).uniform(-1, 1, 4000), 16000)
    (folder / "clips.csv").write_text(TABLE)
    (folder / "LICENCE").write_text("free")
    return folder


@pytest.fixture
def untracked(monkeypatch):
    """Imports without DVC, which takes seconds."""
    monkeypatch.setattr(importing, "track", lambda target: [str(target)])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def printed(text):
    """The entry for params.yaml, and what git add is told, as printed."""
    _, _, rest = text.partition("params.yaml:\n\n")
    entry, _, commands = rest.partition("\nThen type:\n\n")
    (add,) = [line.split()[2:] for line in commands.splitlines() if "git add" in line]
    return yaml.safe_load(entry), add


def test_a_folder_of_clips_becomes_data_that_dvc_tracks(project, clips):
    command = [sys.executable, "-m", "elision", "import-data", str(clips), "--name", "mine"]
    entry, add = printed(run(*command, "--settings", "corpus: mosei"))

    assert entry == {"mine": {"source": "clips", "folder": "data/mine", "corpus": "mosei"}}
    loaded = params.checked({"datasets": entry, "methods": ["majority"]}, "params.yaml")
    assert importing.check(loaded.datasets["mine"], "mine") == "3 samples, 1 train, 1 valid, 1 test"
    assert files(project / "data" / "mine") == files(clips)
    assert add == ["data/mine.dvc"]
    run("git", "add", *add)
    assert "Data and pipelines are up to date." in run(sys.executable, "-m", "dvc", "status")
    changed = run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert [line.split()[-1] for line in changed] == sorted(add)


def feature_file(path):
    """A pickle in the layout of MMSA, with a sample per split."""

    def part(split):
        bert = np.zeros((1, 3, 4), np.float32)
        bert[0, 0] = [101, 2000, 102, 0]
        bert[0, 1] = [1, 1, 1, 0]
        return {
            "id": [f"{split}$_$0"],
            "raw_text": ["word"],
            "text_bert": bert,
            "audio": np.ones((1, 5, 2), np.float32),
            "audio_lengths": [5],
            "regression_labels": np.array([0.5], np.float32),
        }

    pickles.dump({split: part(split) for split in ("train", "valid", "test")}, path)
    return path


def test_a_feature_file_is_imported_into_a_folder_of_its_own(project, tmp_path):
    file = feature_file(tmp_path / "unaligned_39.pkl")
    entry, _ = printed(importing.import_data(file, "sims", {"corpus": "sims"}))
    assert entry == {"sims": {"source": "mmsa", "file": "data/sims/unaligned_39.pkl", "corpus": "sims"}}
    assert files(project / "data" / "sims") == {Path("unaligned_39.pkl"): file.read_bytes()}
    assert (project / "data" / "sims.dvc").exists()


def test_what_is_in_its_place_already_is_tracked_there(project, clips):
    shutil.copytree(clips, "data/mine")
    before = files(clips)
    entry, _ = printed(importing.import_data(Path("data/mine"), "mine", {}))
    assert entry == {"mine": {"source": "clips", "folder": "data/mine"}}
    assert files(project / "data" / "mine") == before
    with pytest.raises(ElisionError, match=r"data/mine\.dvc exists: .* type: dvc add data/mine\."):
        importing.import_data(clips, "mine", {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("corpus: mosi\ncorpus: sims", "--settings: line 2: duplicate key 'corpus' (first defined on line 1)"),
        ("audio: {", "--settings: not valid YAML"),
        ("- corpus", "--settings: '- corpus' is not a mapping"),
    ],
)
def test_settings_are_read_as_strictly_as_params(tmp_path, settings, message):
    command = [sys.executable, "-m", "elision", "import-data", str(tmp_path), "--settings", settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"elision: {message}" in done.stderr


def refused(path, name="mine", **settings):
    """Message; nothing may be there afterwards that was not there before."""
    before = files(Path("data"))
    with pytest.raises(ElisionError) as caught:
        importing.import_data(path, name, settings)
    assert files(Path("data")) == before
    return str(caught.value)


def test_what_is_wrong_is_said_and_leaves_no_copy(project, clips, tmp_path):
    (clips / "media" / "b.wav").write_text("no sound")
    (clips / "clips.csv").write_text(TABLE.replace("2.5", "25"))
    message = refused(clips)
    assert "clips.csv: 2 problems" in message
    assert "label is 25, not in [-3, 3]" in message and "b.wav" in message

    (tmp_path / "nonsense").mkdir()
    (tmp_path / "nonsense" / "notes.txt").write_text("nothing")
    assert "nonsense: no known data found" in refused(tmp_path / "nonsense")
    (tmp_path / "broken.pkl").write_bytes(b"no pickle")
    assert "broken.pkl" in refused(tmp_path / "broken.pkl")
    assert "elsewhere does not exist" in refused(tmp_path / "elsewhere")
    assert "cannot be the name of a dataset" in refused(clips, "../mine")
    assert "datasets.mine.corpus" in refused(clips, corpus="moss")


def test_links_are_followed_and_one_that_leads_nowhere_is_named(project, clips, untracked):
    (clips / "media" / "b.wav").rename(clips.parent / "elsewhere.wav")
    (clips / "media" / "b.wav").symlink_to(clips.parent / "elsewhere.wav")
    (clips / "lost").symlink_to(clips / "nowhere")
    assert "lost is a link to a missing file; delete the link" in refused(clips)
    (clips / "lost").unlink()
    told = importing.import_data(clips, "mine", {})
    copied = project / "data" / "mine" / "media" / "b.wav"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (clips.parent / "elsewhere.wav").read_bytes()
    link = f"{clips / 'media' / 'b.wav'} -> {clips.parent / 'elsewhere.wav'}"
    assert told.startswith(f"1 link out of {clips}: the files behind the links were copied: '{link}'\n")


def test_linked_folders_are_copied_with_what_they_hold(project, clips, untracked):
    (clips / "media").rename(clips.parent / "disk")
    (clips / "media").symlink_to(clips.parent / "disk")
    (clips.parent / "disk" / "again.wav").symlink_to(clips.parent / "disk" / "a.wav")
    told = importing.import_data(clips, "mine", {})
    assert files(project / "data" / "mine" / "media") == files(clips.parent / "disk")
    assert not [path for path in (project / "data").rglob("*") if path.is_symlink()]
    assert told.startswith(f"2 links out of {clips}: the files behind the links were copied: '{clips / 'media'} -> ")


def test_links_in_circles_and_what_is_no_file_are_refused(project, clips):
    (clips / "media" / "up").symlink_to(clips)
    (clips / "self").symlink_to(clips / "self")
    os.mkfifo(clips / "pipe.wav")
    message = refused(clips)
    assert "clips: 3 problems" in message
    for part in (
        "up is a link to a folder above itself",
        "self is a link to a missing file",
        "pipe.wav is a pipe, a socket or a",
    ):
        assert part in message


OUT = {
    "as a path of the original": (
        "{clips}/media/a.wav",
        "path '{clips}/media/a.wav' leads out of the copy of {clips};",
    ),
    "beside the original": ("../other.wav", "path '../other.wav' leads out of the copy of {clips};"),
    "by its absolute path": ("{clips}/../other.wav", "leads out of the copy of {clips};"),
    "beside the copy": ("../other.npy", "path '../other.npy' leads out of the copy of {clips};"),
    "lost": ("media/c.wav", "{clips}/media/c.wav: no such file"),
}


@pytest.mark.parametrize("case", OUT)
def test_a_path_that_works_in_the_original_place_alone_is_refused(project, clips, case):
    shutil.copy(clips / "media" / "a.wav", clips.parent / "other.wav")
    shutil.copy(clips / "media" / "a.wav", "data/other.npy")
    cell, expected = (each.format(clips=clips) for each in OUT[case])
    (clips / "clips.csv").write_text(TABLE.replace("media/a.wav", cell))
    message = refused(clips)
    assert message.splitlines()[0] == f"{clips}/clips.csv: 1 problem"
    assert expected in message and ".partial" not in message
    if case != "lost":
        assert message.endswith(
            "or leave the file there, and write the entry into params.yaml yourself, with outside: true"
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"outside": True},
            "outside: true does not work with import-data, which copies and tracks only files in the folder",
        ),
        ({"table": "../clips.csv"}, "table: ../clips.csv leads out of the folder"),
        ({"table": "media/../../clips.csv"}, "table: media/../../clips.csv leads out of the folder"),
        ({"table": "{parent}/clips.csv"}, "{parent}/clips.csv is not in {clips}"),
        ({"folder": "../My clips"}, "folder: ../My clips leads out of the folder"),
    ],
)
def test_settings_name_files_in_the_folder_alone(project, clips, settings, message):
    for place in (clips.parent, Path("data")):
        shutil.copy(clips / "clips.csv", place / "clips.csv")
    names = {"parent": clips.parent, "clips": clips}
    settings = {key: each.format(**names) if isinstance(each, str) else each for key, each in settings.items()}
    assert message.format(**names) in refused(clips, **settings)


def test_the_copy_is_checked_not_the_original(project, clips, monkeypatch):
    real = shutil.copyfile

    def replaced(source, target):
        if source.name == "b.wav":
            source.write_text("no sound")  # by somebody else, while files are copied
        real(source, target)

    monkeypatch.setattr(importing.shutil, "copyfile", replaced)
    assert f"{clips}/media/b.wav: cannot be decoded" in refused(clips)


def test_what_is_tracked_is_what_was_checked(project, clips, untracked, monkeypatch):
    before, real = files(clips), importing.check

    def later(*arguments):
        (clips / "media" / "b.wav").write_text("no sound")
        return real(*arguments)

    monkeypatch.setattr(importing, "check", later)
    importing.import_data(clips, "mine", {})
    assert files(project / "data" / "mine") == before != files(clips)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left on device; free some space"),
        (errno.EIO, "input/output error; check the disk"),
        (errno.ENOENT, "b.wav: cannot be copied (No such file or directory); nothing was imported"),
    ],
)
def test_a_copy_that_fails_leaves_nothing(project, clips, untracked, monkeypatch, number, message):
    real = shutil.copyfile

    def full(source, target):
        real(source, target)
        if source.name == "b.wav":
            raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(importing.shutil, "copyfile", full)
    assert message in refused(clips)
    monkeypatch.setattr(importing.shutil, "copyfile", real)
    importing.import_data(clips, "mine", {})


def test_without_git_or_dvc_it_says_what_to_type(project, clips):
    shutil.rmtree(".dvc")
    assert "create the repository: dvc init" in refused(clips)
    shutil.rmtree(".git")
    assert "create the repository: git init" in refused(clips)


def test_a_disk_without_room_for_both_copies_is_refused(project, clips, monkeypatch):
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 0, 10))
    assert "GB are free" in refused(clips)


def test_paths_of_the_entry_lie_in_the_folder(tmp_path):
    given = {
        "source": "arrays",
        "table": "index.csv",
        "audio": {"file": "audio.npy", "ids": "ids.npy", "lengths": "n"},
        "vision": {"file": "vision.npz", "values": "vision"},
    }
    settings = importing.settings_of("mine", given, Path("data/mine"))
    assert yaml.safe_load(importing.text_of("mine", settings)) == {
        "mine": {
            "source": "arrays",
            "table": "data/mine/index.csv",
            "audio": {"file": "data/mine/audio.npy", "ids": "data/mine/ids.npy", "lengths": "n"},
            "vision": {"file": "data/mine/vision.npz", "values": "vision"},
        }
    }
    with pytest.raises(ElisionError, match=r"file: /audio\.npy is an absolute path"):
        importing.settings_of("mine", {**given, "audio": {"file": "/audio.npy"}}, Path("data/mine"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["clips.csv", "notes.csv", "a.mp4"], {"source": "clips", "folder": "."}),
        (["aligned_50.pkl"], {"source": "mmsa", "file": "aligned_50.pkl"}),
        (["index.tsv"], {"source": "arrays", "table": "index.tsv"}),
        (["A/comparE.h5", "V/denseface.h5", "L/bert_large.h5", "target/1/x.npy"], {"source": "mmin", "root": "."}),
        (
            ["IEMOCAP_features_raw_4way.pkl", "features/manet_UTT/a.npy"],
            {"source": "gcnet", "labels": "IEMOCAP_features_raw_4way.pkl", "features": "features"},
        ),
        (
            ["label-6way.npz", "clip-vit-large-patch14-UTT/a.npy"],
            {"source": "mer2024", "labels": "label-6way.npz", "features": "."},
        ),
    ],
)
def test_the_source_is_found_by_the_names_of_the_files(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert importing.entry(tmp_path, {}) == expected
    assert importing.entry(tmp_path, {"corpus": "mosi"}) == {**expected, "corpus": "mosi"}


FEATURES = "features/voices-UTT/a.npy"
LABELLED = {"train_corpus": {"a": {"emo": "happy"}}, "test1_corpus": {"b": {"emo": "neutral"}}}


@pytest.mark.parametrize(
    ("names", "content", "expected"),
    [
        (["a.pkl"], {"train": {"text": 1, "labels": 2}, "valid": {}, "test": {}}, {"source": "mult", "file": "a.pkl"}),
        (["a.pkl"], {"train": [], "dev": [], "test": []}, {"source": "magbert", "file": "a.pkl"}),
        (["a.pkl"], {"train": {"regression_labels": 1}}, {"source": "mmsa", "file": "a.pkl"}),
        (["train.pkl", "dev.pkl", "test.pkl"], None, {"source": "magbert", "file": "."}),
        ([FEATURES], LABELLED, "mer2024"),
        ([FEATURES], LABELLED | {"test1_corpus": {"b": {"emo": "sad"}}}, "merbench"),
        (
            [FEATURES, "label_4way.npz"],
            None,
            {"source": "merbench", "labels": "label_4way.npz", "features": "features"},
        ),
    ],
)
def test_the_source_is_found_by_the_content_where_names_do_not_tell(tmp_path, names, content, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if isinstance(expected, str):
        np.savez(tmp_path / "label-6way.npz", **content)
        expected = {"source": expected, "labels": "label-6way.npz", "features": "features"}
    elif content:
        (tmp_path / names[0]).write_bytes(pickle.dumps(content))
    assert importing.entry(tmp_path, {}) == expected
    assert importing.entry(tmp_path, {"source": expected["source"]}) == expected


def test_a_folder_that_several_sources_take_for_theirs_is_asked_about(tmp_path):
    for name in ("clips.csv", "A", "V", "L"):
        (tmp_path / name).mkdir()
    with pytest.raises(ElisionError, match=r"can be those of the sources clips, mmin\. Choose one"):
        importing.entry(tmp_path, {})
    assert importing.entry(tmp_path, {"source": "mmin"}) == {"source": "mmin", "root": "."}


def test_what_is_not_known_is_told_with_all_that_is(tmp_path):
    with pytest.raises(ElisionError) as caught:
        importing.entry(tmp_path, {})
    for name in params.source_names():
        assert (f" {name}: " in str(caught.value)) == hasattr(params.dataset_source(name), "found")


def test_of_arrays_it_must_be_said_what_they_hold(tmp_path):
    for name in ("index.csv", "audio.npz"):
        (tmp_path / name).touch()
    with pytest.raises(ElisionError, match=r"the modality of 'audio\.npz' is unknown\. .*audio: \{file: audio\.npz"):
        importing.entry(tmp_path, {})
    audio = {"file": "audio.npz", "values": "x"}
    assert importing.entry(tmp_path, {"audio": audio}) == {"source": "arrays", "table": "index.csv", "audio": audio}
