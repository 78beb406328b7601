import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from elision.datasets._prepare import prepare
from elision.errors import ElisionError
from elision.params import Params
from elision.store import read_table


@pytest.fixture
def folder(tmp_path):
    """A user's folder with three spoken clips."""
    rows = []
    for i, split in enumerate(("train", "valid", "test")):
        wavfile.write(tmp_path / f"{i}.wav", 16000, _noise(i))
        rows.append({"id": f"clip_{i}", "path": f"{i}.wav", "label": i - 1, "split": split})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path


def _noise(seed):
    return (np.random.default_rng(seed).normal(0, 3000, 16000)).astype(np.int16)


def run(folder, media):
    params = Params(datasets={"mine": {"source": "clips", "folder": str(folder)}}, methods=["majority"])
    clips = folder / "results" / "clips.parquet"
    prepare(params, "mine", clips=clips, media=media, store=folder / "store", provenance={"identity": "x"})
    return read_table(clips)


def test_other_media_of_the_same_name_are_other_clips(folder, tmp_path):
    first, before = run(folder, tmp_path / "media")
    again, same = run(folder, tmp_path / "media")
    assert before == same
    pd.testing.assert_frame_equal(first, again)
    wavfile.write(folder / "1.wav", 16000, _noise(9))
    second, after = run(folder, tmp_path / "media")
    assert second["duration"].tolist() == first["duration"].tolist()
    assert before["data"] != after["data"]


def test_media_of_earlier_settings_are_forgotten_and_the_users_own_are_not(folder, tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    (media / "old.mp4").touch()
    run(folder, media)
    assert not list(media.iterdir())
    assert sorted(path.name for path in folder.glob("*.wav")) == ["0.wav", "1.wav", "2.wav"]


def test_an_empty_split_is_refused(folder, tmp_path):
    table = pd.read_csv(folder / "clips.csv")
    table["split"] = ["train", "train", "test"]
    table.to_csv(folder / "clips.csv", index=False)
    with pytest.raises(ElisionError, match="valid"):
        run(folder, tmp_path / "media")
