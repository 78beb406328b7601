import os
import sys
import time
from pathlib import Path

import av
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from elision.datasets import arrays, clips
from elision.datasets._paths import below
from elision.datasets._prepare import prepare
from elision.errors import ElisionError
from elision.settings.params import Params

NAMES = ["..", ".", "a", "b", "..a", "a..", ""]


@hypothesis_settings(deadline=None)
@given(
    parts=st.lists(st.sampled_from(NAMES), min_size=1, max_size=7), top=st.sampled_from(["data/mine", ".", "/srv/x"])
)
def test_a_path_is_taken_exactly_if_it_ends_below_the_folder(parts, top):
    depth, out = 0, False
    for part in parts:
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        out |= depth < 0
    name = "/".join(parts).lstrip("/")
    whole = os.path.normpath(Path(top).absolute() / name)
    inside = Path(whole).is_relative_to(Path(top).absolute())
    assert inside or out
    if inside:
        found = below(Path(top), name)
        assert os.path.normpath(found.absolute()) == whole and ".." not in found.relative_to(top).parts
    else:
        with pytest.raises(ElisionError, match=r"leads out of .* or set outside: true for this dataset in params"):
            below(Path(top), name)


def test_an_absolute_path_may_name_the_folder_or_what_it_is_a_link_to(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "disk")
    for top in ("mine", "disk"):
        assert below(tmp_path / "mine", str(tmp_path / top / "a.wav")) == tmp_path / "mine" / "a.wav"
    for name in (str(tmp_path / "disk2" / "a.wav"), str(tmp_path / "a.wav"), "/etc/passwd", "/"):
        with pytest.raises(ElisionError, match="leads out of"):
            below(tmp_path / "mine", name)
    with pytest.raises(ElisionError, match="NUL"):
        below(tmp_path, "../a\0.wav")


# --- clips


@pytest.fixture
def folder(tmp_path):
    """A folder of clips in one with other files, of which one is a transcript, one of words and one a sound."""
    folder = tmp_path / "mine"
    for each in (tmp_path, folder, tmp_path / "disk" / "deep"):
        each.mkdir(parents=True, exist_ok=True)
        (each / "a.txt").write_text("words of " + each.name)
        (each / "w.csv").write_text("word,start,end\nwell,0,0.1\n")
        with av.open(str(each / "a.wav"), "w") as container:
            stream = container.add_stream("pcm_s16le", 16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.ones((1, 1600), np.int16), "s16", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
    (folder / "link").symlink_to(tmp_path / "disk" / "deep")
    return folder


FILES = {"path": "a.wav", "transcript": "a.txt", "words": "w.csv"}


def table(folder, column, value, **options):
    """Settings of a table whose first row names a file in one column, and all others fit."""
    cells = {"id": "x", "path": "a.wav", "transcript": "a.txt", "words": "w.csv", "label": "1", "split": "train"}
    rows = [cells | {column: value}, cells | {"id": "y", "split": "valid"}, cells | {"id": "z", "split": "test"}]
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    return clips.Settings(source="clips", folder=folder, **options)


def problem(settings):
    with pytest.raises(ElisionError) as caught:
        clips.prepare(settings, settings.folder)
    head, only = str(caught.value).splitlines()
    assert head == f"{settings.folder / settings.table}: 1 problem"
    return only


@pytest.mark.parametrize("column", FILES)
@pytest.mark.parametrize("where", ["../{}", "link/../../{}", "b/../../{}", "{whole}/{}", "./../mine/../{}"])
def test_a_file_out_of_the_folder_is_read_only_if_the_settings_allow_it(folder, column, where):
    name = where.format(FILES[column], whole=folder.parent)
    (folder / "b").mkdir()
    settings = table(folder, column, name)
    assert problem(settings) == (
        f"1. line 2, id 'x': {column} {name!r} leads out of {folder}; move the file below this folder and write its "
        "path from there, or set outside: true for this dataset in params.yaml"
    )
    inside = [folder / each for each in ("clips.csv", "a.txt", "a.wav", "w.csv")]
    assert clips.inputs(settings) == inside
    allowed = settings.model_copy(update={"outside": True})
    assert clips.inputs(allowed) == [inside[0], *sorted([*inside[1:], folder / name])]
    assert len(clips.prepare(allowed, folder)) == 3


@pytest.mark.parametrize("column", FILES)
@pytest.mark.parametrize(
    "where", ["{}", "./{}", "b/../{}", "{whole}/mine/{}", "link/{}", "../mine/{}", "{whole}/x/../mine/{}"]
)
def test_a_file_in_the_folder_is_read_however_it_is_written(folder, column, where):
    name = where.format(FILES[column], whole=folder.parent)
    settings = table(folder, column, name)
    found = clips.prepare(settings, folder)
    expected = folder / ("link" if where.startswith("link") else ".") / FILES[column]
    assert expected in clips.inputs(settings)
    if column == "path":
        assert found["path"][0] == str(expected)
    if column == "transcript":
        assert found["text"][0] == ("words of deep" if where.startswith("link") else "words of mine")


def test_a_way_back_through_a_linked_folder_ends_in_the_folder_of_the_table(folder):
    (folder.parent / "disk" / "b.txt").write_text("elsewhere")
    # To the operating system link/.. is disk, which the table may not name.
    assert "mine/b.txt does not exist" in problem(table(folder, "transcript", "link/../b.txt"))
    (folder / "b.txt").write_text("here")
    assert clips.prepare(table(folder, "transcript", "link/../b.txt"), folder)["text"][0] == "here"


def test_files_that_are_links_are_read_as_dvc_makes_them(folder):
    for name in FILES.values():
        (folder / name).rename(folder.parent / f"cache-{name}")
        (folder / name).symlink_to(folder.parent / f"cache-{name}")
    settings = table(folder, "path", "a.wav")
    assert len(clips.prepare(settings, folder)) == 3
    assert clips.inputs(settings) == [folder / name for name in ("clips.csv", "a.txt", "a.wav", "w.csv")]


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("http://192.0.2.1/a.mp4", "is an address; download the file"),
        ("file:///etc/passwd", "is an address; download the file"),
        ("~/a.wav", "does not exist: ~ does not stand for the home folder here"),
        ("~root/a.wav", "does not exist: ~ does not stand for the home folder here"),
        ("video\\a.wav", "does not exist: write / between the names of folders"),
        ("C:\\clips\\a.wav", "does not exist: write / between the names of folders"),
        ("..\\a.wav", "does not exist: write / between the names of folders"),
    ],
)
def test_a_name_that_means_something_else_is_explained(folder, name, message, outside):
    for column in FILES:
        found = problem(table(folder, column, name, outside=outside))
        assert found.startswith(f"1. line 2, id 'x': {column} {name!r} {message}")


@pytest.mark.parametrize(
    "name", ["pipe:0", "data:audio/wav;base64,AAAA", "concat:a.wav|a.wav", "fd:0", "subfile,,:a.wav"]
)
def test_a_protocol_is_part_of_the_name_of_a_file(folder, name):
    assert f"{folder / name}: no such file" in problem(table(folder, "path", name))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes((folder / "a.wav").read_bytes())
    assert clips.prepare(table(folder, "path", name), folder)["has_audio"].all()


@pytest.mark.parametrize("name", ["~a.wav", "a\\b.wav"])
def test_odd_names_of_files_that_exist_are_fine(folder, name):
    (folder / name).write_bytes((folder / "a.wav").read_bytes())
    assert clips.prepare(table(folder, "path", name), folder)["path"][0] == str(folder / name)


def test_a_live_playlist_in_a_table_ends_at_once(folder):
    (folder / "clip.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.wav\n")
    started = time.monotonic()
    assert "clip.mp4: is an HLS playlist" in problem(table(folder, "path", "clip.mp4"))
    assert time.monotonic() - started < 20  # not for ever, on a busy machine too


def test_a_table_to_predict_is_confined_and_a_file_that_is_typed_is_not(folder):
    table(folder, "path", "../a.wav")
    found, wrong = clips.unlabelled(folder / "clips.csv")
    assert found["path"][0] is None and found["has_audio"].tolist() == [False, True, True]
    ((row, what),) = wrong
    assert row == 0 and what.startswith(f"path '../a.wav' leads out of {folder}; move the file below this folder")
    assert what.endswith("or give the file itself in place of a table")
    found, wrong = clips.opened([folder / ".." / "a.wav", folder.parent / "a.wav", Path("https://192.0.2.1/a.mp4")])
    assert found["has_audio"].tolist() == [True, True, False]
    assert [(row, "is an address" in what) for row, what in wrong] == [(2, True)]


# --- arrays


def own(folder, ids=("x", "y", "z"), *, of=("train", "valid", "test"), **options):
    """Settings of a table with these ids, and the splits that they are of."""
    cells = {"id": ids, "label": [1, 2, 0], "split": of}
    pd.DataFrame(cells).to_csv(folder / "index.csv", index=False)
    return arrays.Settings(source="arrays", table=folder / "index.csv", **options)


def lines(settings):
    with pytest.raises(ElisionError) as caught:
        arrays.prepare(settings, Path())
    return str(caught.value).splitlines()[1:]


@pytest.mark.parametrize("sample", ["../secret", "a/../../secret", "/../secret"])
def test_an_id_does_not_lead_to_an_array_out_of_the_folder_of_arrays(folder, sample):
    for name in ("a/x", "y", "deep/z"):
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / f"{name}.npy", np.ones((2, 3), np.float32))
    np.save(folder.parent / "secret.npy", np.full((2, 3), 7, np.float32))
    audio = {"file": folder / "{id}.npy"}
    settings = own(folder, [sample, "y", "deep/z"], audio=audio)
    (found,) = lines(settings)
    assert found == (
        f"1. audio: {folder}/{{id}}.npy: 1 sample ({sample!r}): id or split leads out of {folder}; rename it, "
        "and the file, or set outside: true for this dataset in params.yaml"
    )
    assert arrays.inputs(settings) == [folder / name for name in ("index.csv", "deep/z.npy", "y.npy")]
    if sample.startswith("/"):
        return
    allowed = settings.model_copy(update={"outside": True})
    _, modalities = arrays.prepare(allowed, Path())
    assert modalities["audio"][0].max() == 7
    assert folder / f"{sample}.npy" in arrays.inputs(allowed)


def test_a_split_does_not_lead_out_of_the_folder_of_arrays(folder):
    theirs = ["../secret", "dev", "test"]
    for name in theirs:
        np.savez(folder / f"{name}.npz", x=np.ones((1, 3), np.float32))
    splits = dict(zip(("train", "valid", "test"), theirs, strict=True))
    settings = own(folder, of=theirs, splits=splits, audio={"file": folder / "{split}.npz", "values": "x"})
    assert any("id or split leads out of" in line for line in lines(settings))
    assert folder / "../secret.npz" not in arrays.inputs(settings)
    assert arrays.prepare(settings.model_copy(update={"outside": True}), Path())[1]["audio"].values.shape == (3, 3)


def test_neither_split_nor_id_makes_a_file_of_the_name_of_an_array(folder):
    secret = str(folder.parent / "secret.npy")
    np.save(secret, np.arange(1))
    np.savez(folder / "all.npz", x=np.ones((1, 3), np.float32), dev=["y"], test=["z"])
    splits = {"train": secret, "valid": "dev", "test": "test"}
    audio = {"file": folder / "all.npz", "values": "x", "ids": "{split}"}
    settings = own(folder, of=list(splits.values()), splits=splits, audio=audio)
    assert any("makes ids the path of a file; give the split another name" in line for line in lines(settings))
    assert Path(secret) not in arrays.inputs(settings)

    with h5py.File(folder / "each.h5", "w") as file:
        file["y"] = file["z"] = np.ones((2, 3))
        file["kept.npy"] = np.full((2, 3), 5.0)
    audio = {"file": folder / "each.h5", "values": "{id}"}
    _, modalities = arrays.prepare(own(folder, ["kept.npy", "y", "z"], audio=audio), Path())
    assert modalities["audio"][0].max() == 5
    settings = own(folder, [secret, "y", "z"], audio=audio)
    np.save(secret, np.full((2, 3), 7, np.float32))
    try:
        assert not len(arrays.prepare(settings, Path())[1]["audio"][0])
    except ElisionError as error:
        assert "without any of" in str(error)
    assert Path(secret) not in arrays.inputs(settings)


# --- what is read is what the workflow watches


OPENED = []


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """The files of the user that are opened while a test runs."""
    if not OPENED:  # an audit hook stays for good

        def note(event, arguments):
            if event == "open" and OPENED and isinstance(arguments[0], str | bytes | os.PathLike):
                OPENED[-1].append(os.fsdecode(arguments[0]))

        sys.addaudithook(note)
    real = av.open

    def noted(file, *arguments, **options):
        OPENED[-1].append(file.removeprefix("file:"))
        return real(file, *arguments, **options)

    monkeypatch.setattr(av, "open", noted)  # FFmpeg opens files itself
    OPENED.append([])
    yield lambda: {Path(os.path.normpath(name)) for name in OPENED[-1] if name.startswith(str(tmp_path / "mine"))}
    OPENED.append([])


def prepared(settings, folder):
    params = Params(datasets={"mine": settings.model_dump(mode="json")}, methods=["majority"])
    made = {name: folder / "made" / name for name in ("clips", "media", "store")}
    prepare(params, "mine", **made, provenance={"step": "prepare"})
    return made["clips"]


def test_every_file_that_is_read_for_clips_is_an_input(folder, opened, tmp_path):
    for k, name in enumerate(("path", "transcript", "words")):
        (folder / f"{k}.only").write_bytes((folder / FILES[name]).read_bytes())
    settings = table(folder, "path", "0.only")
    rows = pd.read_csv(folder / "clips.csv")
    rows.loc[1, "transcript"], rows.loc[2, "words"] = "1.only", "link/../2.only"
    rows.to_csv(folder / "clips.csv", index=False)
    inputs = set(clips.inputs(settings))
    OPENED[-1].clear()
    found = pd.read_parquet(prepared(settings, tmp_path))
    assert opened() == inputs and len(inputs) == 7
    assert {Path(path) for path in found["path"]} <= inputs  # extraction opens these


def test_every_file_that_is_read_for_arrays_is_an_input(folder, opened, tmp_path):
    values = np.ones((3, 3), np.float32)
    for k, split in enumerate(("train", "valid", "test")):
        np.savez(folder / f"audio_{split}.npz", x=values[:1])
        np.save(folder / f"ids_{split}.npy", [["x", "y", "z"][k]])
        np.save(folder / f"lengths_{split}.npy", [1])
    for sample in "xyz":
        np.save(folder / f"{sample}.npy", values)
        with h5py.File(folder / f"{sample}.h5", "w") as file:
            file["v"] = values
    for vision in (
        {"file": folder / "{id}.npy"},
        {"file": folder / "{id}.h5", "values": "v"},
        {"file": folder / "x.h5", "values": str(folder / "{id}.npy")},
    ):
        audio = {"file": folder / "audio_{split}.npz", "values": "x"}
        audio |= {name: str(folder / f"{name}_{{split}}.npy") for name in ("ids", "lengths")}
        settings = own(folder, audio=audio, vision=vision)
        inputs = set(arrays.inputs(settings))
        OPENED[-1].clear()
        prepared(settings, tmp_path)
        assert opened() == inputs and len(inputs) >= 13


# --- names


@pytest.mark.parametrize(
    ("there", "named", "told"),
    [
        ("Clip.MP4.wav", "clip.mp4.wav", "did you mean 'Clip.MP4.wav'?"),
        ("e\u0301te.wav", "\u00e9te.wav", r"The accents are stored otherwise: 'e\u0301te.wav', not '\xe9te.wav'"),
        ("interview.wav", "interveiw.wav", "did you mean 'interview.wav'?"),
        ("deep/a.wav", "Deep/A.wav", "did you mean 'deep/a.wav'?"),
        (" a b.wav", " a b.wav", "rename the file: cells are read without spaces at their ends"),
        ("clip_03.wav", "clip_04.wav", "no such file"),
    ],
)
def test_a_name_that_differs_a_little_is_suggested(folder, there, named, told):
    (folder / there).parent.mkdir(exist_ok=True)
    (folder / "a.wav").rename(folder / there)
    settings = table(folder, "path", named)
    rows = pd.read_csv(folder / "clips.csv")
    rows.loc[rows["path"] == "a.wav", "path"] = None
    rows.to_csv(folder / "clips.csv", index=False)
    assert told in problem(settings)


ODD = [
    "a{b}.wav",
    "{c}.wav",
    "{{d}}.wav",
    "e f'g\".wav",
    "h\ni.wav",
    "e\u0301\u00e9.wav",
    "名😀.wav",
    "-k.wav",
    "m*n?.wav",
]
ODD += ["o$p`q`.wav", "r#s%t.wav", "%(a)s.wav", "[1].wav", "x|y;z&.wav", "\\s.wav", "\x1b[31m.wav", "\u202ert.wav"]


def test_files_of_any_name_are_inputs(folder):
    for name in ODD:
        (folder / name).write_bytes((folder / "a.wav").read_bytes())
    splits = (["train", "valid", "test"] * len(ODD))[: len(ODD)]
    cells = {"id": [f"c{k}" for k in range(len(ODD))], "path": ODD, "label": 1, "split": splits}
    pd.DataFrame(cells).to_csv(folder / "clips.csv", index=False)
    settings = clips.Settings(source="clips", folder=folder)
    assert clips.prepare(settings, folder)["path"].tolist() == [str(folder / name) for name in ODD]
    assert set(clips.inputs(settings)) == {folder / "clips.csv", *(folder / name for name in ODD)}
