import pytest

from elision.datasets import clips
from elision.errors import ElisionError

pytestmark = pytest.mark.real

SCORE = {"F": 2, "N": 0, "W": -2, "A": -1, "T": -2, "L": -0.5, "E": -1.5, "d": 0}


def test_a_folder_of_spoken_german_becomes_a_table(real_data, tmp_path):
    folder = real_data / "emodb_two_speakers"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    splits = ("train", "valid", "test")
    lines = [
        f"{file.stem};{file};{SCORE.get(file.stem[5], 0)};{splits[i % 3]};{file.parent.name}"
        for i, file in enumerate(sorted(folder.rglob("*.wav")))
    ]
    (tmp_path / "clips.csv").write_text("\n".join(["id;path;label;split;speaker", *lines]))
    found = clips.prepare(clips.Settings(source="clips", folder=tmp_path, outside=True), tmp_path)
    assert len(found) == len(lines) > 60
    assert found["has_audio"].all() and not found["has_vision"].any()
    assert found["duration"].between(0.5, 15).all()
    assert found["text"].isna().all()


def test_videos_and_a_file_that_is_none_are_told_apart(real_data, tmp_path):
    folder = real_data / "clips"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    names = ("single_face.mp4", "no_face.mp4", "WolfgangLanger_Pexels.mp4")
    header = "id,path,label,split\n"
    good = header + "".join(
        f"{name[:-4]},{folder / name},1,{split}\n"
        for name, split in zip(names, ("train", "valid", "test"), strict=True)
    )
    (tmp_path / "clips.csv").write_text(good)
    settings = clips.Settings(source="clips", folder=tmp_path, outside=True)
    found = clips.prepare(settings, tmp_path)
    assert found["has_vision"].all() and (found["duration"] > 0).all()
    (tmp_path / "clips.csv").write_text(good + f"image,{folder / 'single_face.jpg'},1,test\n")
    with pytest.raises(ElisionError, match=r"line 5, id 'image': .*single_face\.jpg: is an image and holds no audio"):
        clips.prepare(settings, tmp_path)
