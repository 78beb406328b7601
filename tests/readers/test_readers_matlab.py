"""MATLAB files of versions 5 and 7.3."""

import re
import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io

from elision.errors import ElisionError
from elision.readers import Entries, opened, texts_of

random = np.random.default_rng(11)


def find(path, name):
    with opened(path) as file:
        return file.find(name)


def cells(items):
    array = np.empty((len(items), 1), object)
    for row, item in enumerate(items):
        array[row, 0] = item
    return array


SEQUENCES = [random.normal(size=(n, 3)) for n in (2, 5, 1)]


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def version_5(request, tmp_path):
    content = {
        "x": random.normal(size=(3, 4, 2)),
        "whole": np.arange(6, dtype=np.int16).reshape(2, 3),
        "frames": cells(SEQUENCES),
        "names": cells(["kim_01", "lee", "é"]),
        "rows": np.array(["ab ", "cde"]),
        "data": {"audio": random.normal(size=(2, 2)), "inner": {"ids": [1.0, 2.0]}},
    }
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=request.param)
    return tmp_path / "a.mat", content


def test_matrices_cells_text_and_structs_of_version_5_are_read(version_5):
    path, content = version_5
    assert np.array_equal(find(path, "x"), content["x"]) and np.array_equal(find(path, "whole"), content["whole"])
    frames = find(path, "frames")
    assert isinstance(frames, Entries) and len(frames) == 3
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(frames, SEQUENCES, strict=True))
    assert texts_of(find(path, "names"), "names") == ["kim_01", "lee", "é"]
    assert texts_of(find(path, "rows"), "rows") == ["ab", "cde"]
    assert np.array_equal(find(path, "data/audio"), content["data"]["audio"])
    assert texts_of(find(path, "data/inner/ids"), "ids") == ["1", "2"]


def test_what_is_not_there_is_no_name_and_a_struct_is_no_array(version_5):
    path, _ = version_5
    for name in ("y", "data/video", "x/y"):
        with pytest.raises(KeyError):
            find(path, name)
    with pytest.raises(ElisionError, match="values names no array, but data; name an array in it: audio, inner"):
        find(path, "data")


def matlab_7_3(path, **arrays):
    """Write a file as MATLAB does: HDF5 behind 512 bytes of text, with the dimensions the other way round."""

    def write(file, name, value):
        if isinstance(value, dict):
            group = file.create_group(name)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, item in value.items():
                write(group, key, item)
            return
        if isinstance(value, list):
            references = []
            for k, item in enumerate(value):
                write(file.file, f"#refs#/{name.replace('/', '_')}{k}", item)
                references.append(file.file[f"#refs#/{name.replace('/', '_')}{k}"].ref)
            found = file.create_dataset(name, (1, len(value)), h5py.ref_dtype)
            found[0] = references
            found.attrs["MATLAB_class"] = np.bytes_("cell")
        elif isinstance(value, str):
            file[name] = np.array([[ord(letter)] for letter in value], np.uint16)
            file[name].attrs["MATLAB_class"] = np.bytes_("char")
        else:
            file[name] = np.asarray(value).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            write(file, name, value)
    with path.open("r+b") as file:
        file.write(
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024".ljust(124) + b"\0\2IM"
        )


def test_version_7_3_is_read_with_the_dimensions_of_matlab(tmp_path):
    x = random.normal(size=(3, 4, 2))
    matlab_7_3(tmp_path / "a.mat", x=x, frames=SEQUENCES, names=["kim_01", "lee", "é"], data={"audio": x[0]}, word="so")
    with opened(tmp_path / "a.mat") as file:
        assert sorted(file.names) == ["data", "frames", "names", "word", "x"]
        assert np.array_equal(file.find("x"), x) and np.array_equal(file.find("data/audio"), x[0])
        frames = list(file.find("frames"))
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(frames, SEQUENCES, strict=True))
        assert texts_of(file.find("names"), "names") == ["kim_01", "lee", "é"]
        assert file.find("word").tolist() == ["so"]


def test_cells_of_version_7_3_lead_to_no_other_file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones((2, 3))
    matlab_7_3(tmp_path / "a.mat", frames=SEQUENCES)
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        hidden = file.create_dataset("#refs#/hidden", (2, 3), "f8", external=[(str(tmp_path / "other.h5"), 0, 48)])
        file["frames"][0, 1] = hidden.ref
    with opened(tmp_path / "a.mat") as file:
        found = file.find("frames")
        assert np.array_equal(found.entry(0), SEQUENCES[0])
        with pytest.raises(ElisionError, match="is a dataset with external storage"):
            found.entry(1)


def test_complex_numbers_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.array([1 + 2j])})
    with pytest.raises(ElisionError, match="holds complex numbers, which are not read"):
        find(tmp_path / "a.mat", "x")


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?"])
def test_numbers_of_every_type_are_those_that_scipy_reads(tmp_path, dtype):
    scipy.io.savemat(tmp_path / "a.mat", {"x": random.integers(0, 2, (2, 3, 4)).astype(dtype)})
    assert np.array_equal(find(tmp_path / "a.mat", "x"), scipy.io.loadmat(tmp_path / "a.mat")["x"])


def test_a_sparse_matrix_is_refused_with_the_conversion(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": scipy.sparse.eye_array(3, format="csc")})
    with pytest.raises(ElisionError, match="holds a sparse matrix, which is not read"):
        find(tmp_path / "a.mat", "x")


# --- files that do harm


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(shape, kind=6, body=b"", name=b"x"):
    head = (
        element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name)
    )
    return element(14, head + body)


def mat(path, *elements):
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements))


def nested(depth):
    item = matrix((1, 1), 6, element(9, bytes(8)), b"")
    for _ in range(depth):
        item = matrix((1, 1), 1, item, b"")
    return matrix((1, 1), 1, item)


HARM = {
    "an array of 10^9 cells": (matrix((10**9, 1), 1), "an array of shape (1000000000, 1) with 0 elements"),
    "an array of 2^60 numbers": (matrix((2**30, 2**30), 6, element(9, bytes(80))), "an array of shape"),
    "numbers of no type": (matrix((3, 1), 6, element(77, bytes(24))), "an array of shape (3, 1) in 24 bytes"),
    "a negative shape": (matrix((-3, -5), 6, element(9, bytes(120))), "an array of shape (-3, -5)"),
    "a part larger than the file": (struct.pack("<II", 14, 2**31), "an element takes 2147483648 bytes"),
    "cells in cells": (nested(2000), "nested more than"),
    "a bomb": (None, "bytes of it are stored"),
    "a function": (matrix((1, 1), 16), "holds a function"),
    "an object": (matrix((1, 1), 17), "holds an object"),
    "a struct without names": (matrix((1, 1), 2, element(5, bytes(4)) + element(1, b"ab")), "a struct whose fields"),
    "several structs": (matrix((2, 1), 2, element(5, b"\2\0\0\0") + element(1, b"ab")), "a struct of 2 elements"),
    "text that is none": (matrix((1, 2), 4, element(4, b"\x00\xd8\x00\xd8")), "text in an encoding"),
    "text of another shape": (matrix((1, 9), 4, element(4, b"a\0b\0")), "text of shape (1, 9) with 2 letters"),
    "no array": (element(9, bytes(8)), "holds something that is no array"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_file_that_claims_what_it_does_not_hold_is_refused(tmp_path, name):
    content, told = HARM[name]
    if content is None:
        packed = zlib.compress(element(14, bytes(200 << 20)), 9)
        content = struct.pack("<II", 15, len(packed)) + packed
    mat(tmp_path / "a.mat", content)
    with pytest.raises(ElisionError, match=re.escape(told)):
        find(tmp_path / "a.mat", "x")


def test_a_file_cut_short_is_refused(version_5):
    path, _ = version_5
    content = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(content[: 128 + (len(content) - 128) * part // 20])
        with pytest.raises(Exception):  # noqa: B017 - `arrays` turns whatever it is into a message
            find(path, "data/inner/ids")
