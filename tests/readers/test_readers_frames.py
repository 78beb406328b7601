"""Text files of frames as OpenFace 2 and openSMILE write them."""

import logging

import numpy as np
import pytest

from elision.errors import ElisionError
from elision.readers import opened

OPENFACE = """frame, face_id, timestamp, confidence, success, gaze_0_x, pose_Rx, AU12_r, AU45_c
1, 0, 0.000, 0.98, 1, 0.125, -0.25, 0.31, 0
2, 0, 0.033, 0.02, 0, 0, 0, 0, 0
3, 0, 0.067, 0.88, 1, 0.250, 0.5, 4.99, 1
"""
NAMES = ["gaze_0_x", "pose_Rx", "AU12_r", "AU45_c"]


def read(folder, content, patterns="", name="a.csv"):
    (folder / name).write_text(content, encoding="utf-8")
    with opened(folder / name) as file:
        return file.find(patterns)


def refused(folder, content, patterns="", name="a.csv"):
    with pytest.raises(ElisionError) as caught:
        read(folder, content, patterns, name)
    return str(caught.value)


def test_openface_is_read_with_names_times_and_what_was_not_observed(tmp_path):
    found = read(tmp_path, OPENFACE)
    assert found.features == NAMES
    assert found.values.tolist() == [[0.125, -0.25, 0.31, 0], [0, 0, 0, 0], [0.25, 0.5, 4.99, 1]]
    assert found.times.tolist() == [[0, 0], [0.033, 0.033], [0.067, 0.067]]
    assert found.lost.tolist() == [False, True, False] and found.confidence.tolist() == [0.98, 0.02, 0.88]


@pytest.mark.parametrize("change", [lambda text: text.replace(", ", ","), lambda text: text.replace("\n", "\r\n")])
def test_spaces_and_ends_of_lines_change_nothing(tmp_path, change):
    found = read(tmp_path, change(OPENFACE))
    assert found.features == NAMES and found.values[2].tolist() == [0.25, 0.5, 4.99, 1]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("AU*_r", ["AU12_r"]),
        ("pose_R*, gaze_*", ["pose_Rx", "gaze_0_x"]),
        ("AU12_r, AU*", ["AU12_r", "AU45_c"]),
        ("confidence,AU12_r", ["confidence", "AU12_r"]),
    ],
)
def test_patterns_choose_columns_in_their_order(tmp_path, patterns, names):
    assert read(tmp_path, OPENFACE, patterns).features == names


def test_a_pattern_of_no_column_is_no_name(tmp_path):
    with pytest.raises(KeyError, match="eye"):
        read(tmp_path, OPENFACE, "eye_*, AU*")


@pytest.mark.parametrize("word", ["-nan(ind)", "nan", "1.#QNAN", "-1.#IND", "", "NaN"])
def test_numbers_that_are_none_are_nan(tmp_path, word):
    found = read(tmp_path, OPENFACE.replace("4.99", word))
    assert np.isnan(found.values[2, 2]) and np.isfinite(found.values[:2]).all()


def test_of_several_faces_the_one_seen_in_most_frames_is_read(tmp_path, caplog):
    rows = ["1, 0, 0.0, .9, 1, 5", "1, 1, 0.0, .9, 1, 7", "2, 1, 0.1, .9, 1, 8", "2, 0, 0.1, .9, 0, 0"]
    text = "frame, face_id, timestamp, confidence, success, AU12_r\n" + "\n".join(rows)
    with caplog.at_level(logging.INFO):
        found = read(tmp_path, text)
    assert found.values[:, 0].tolist() == [7, 8] and found.times[:, 0].tolist() == [0, 0.1]
    assert "2 faces in one file: the one that is seen in most frames is read" in caplog.text


def test_numbers_are_those_of_the_text_to_the_last_bit(tmp_path):
    words = ["0.1", "3.0517578125e-05", "-1.7976931348623157e+308", "2.2250738585072014e-308", "9007199254740993"]
    found = read(tmp_path, "frameTime;" + ";".join("abcde") + "\n0.0;" + ";".join(words) + "\n")
    assert found.values[0].tolist() == [float(word) for word in words]


SMILE = "name;frameTime;pcm_loudness;F0\n'unknown';0.000000;1.5;-2\n'unknown';0.010000;2.5;0\n"


def test_opensmile_frames_are_read_with_their_times(tmp_path):
    found = read(tmp_path, SMILE)
    assert found.features == ["pcm_loudness", "F0"] and found.values.tolist() == [[1.5, -2], [2.5, 0]]
    assert found.times[:, 0].tolist() == [0, 0.01] and found.lost is None


def test_names_of_opensmile_are_ids_without_quotes(tmp_path):
    text = "name;a\n'kim_01';1\n'lee 01';2\n"
    assert read(tmp_path, text, "name").tolist() == ["kim_01", "lee 01"]


def test_the_python_package_writes_times_as_words(tmp_path):
    rows = ["wav/a.wav,0 days 00:00:00,0 days 00:00:00.020000,1", "wav/a.wav,0 days 00:01:00.010,0 days 00:01:00.03,2"]
    found = read(tmp_path, "file,start,end,Loudness_sma3\n" + "\n".join(rows))
    assert found.times.tolist() == [[0, 0.02], [60.01, 60.03]] and found.features == ["Loudness_sma3"]


ARFF = """@relation openSMILE_features

@attribute name string
@attribute 'F0 mean' numeric
@attribute loudness REAL
@attribute class numeric
% a comment
@data

'clip, one',1.5,-3e-2,?
'b',2.5,?,?
"""


@pytest.mark.parametrize("name", ["a.arff", "a.txt", "a.csv"])
def test_arff_is_read_and_a_class_without_values_left_out(tmp_path, caplog, name):
    with caplog.at_level(logging.INFO):
        found = read(tmp_path, ARFF, name=name)
    assert found.features == ["F0 mean", "loudness"]
    assert found.values[0].tolist() == [1.5, -0.03] and found.values[1, 0] == 2.5 and np.isnan(found.values[1, 1])
    assert "1 column without any value left out: class" in caplog.text
    assert read(tmp_path, ARFF, "name", name=name).tolist() == ["clip, one", "b"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("1,2\n3,4\n", "has no names of columns in the first line; write them there, or save the numbers as .npy"),
        ("a,b,a\n1,2,3\n", "has several columns of one name: 'a'; rename them"),
        ("frame,a,mood\n1,2,happy\n", "holds text in 1 column ('mood'); name the columns of features with patterns"),
        ("frame, timestamp\n1, 2\n", "has no column of features, but only frame, timestamp"),
        ("@relation x\n@attribute a numeric\n1\n", "has no line @data; is the file whole?"),
        ("@relation x\n@attribute a numeric\n@data\n{0 1}\n", "is ARFF of the sparse form; save the file as CSV"),
        ("a,b\n1,2,3\n4,5,6,7\n", "is no table of 2 columns"),
        ("<html><body>sign in</body></html>", "is a web page, not the file itself"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_what_is_no_table_of_frames_is_refused_with_a_remedy(tmp_path, content, told):
    assert told in refused(tmp_path, content)


def test_latin_1_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("name,a\nJosé,1\n".encode("latin1") * 1000)
    with pytest.raises(ElisionError, match="is not UTF-8"), opened(tmp_path / "a.csv"):
        pass


def test_short_rows_under_a_wide_first_line_take_no_memory(tmp_path):
    header = ",".join(f"x{k}" for k in range(50_000))
    assert "bytes of it are stored" in refused(tmp_path, header + "\n" + "1\n" * 50_000)
