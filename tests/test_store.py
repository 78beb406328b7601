import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from elision.errors import ElisionError
from elision.store import (
    Header,
    Sequences,
    Store,
    read_sequences,
    read_table,
    read_tensors,
    write_sequences,
    write_table,
    write_tensors,
)


def header(length=100):
    return Header(modality="audio", length=length, rate=43.07, features=["a", "b"], extractor="x", settings={"k": 1})


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_sequences_come_back_as_they_were_written(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("store") / "audio.safetensors"
    sequences = [np.full((n, 2), i, np.float32) for i, n in enumerate(lengths)]
    write_sequences(path, Sequences.of(sequences, header()))
    read = read_sequences(path)
    assert read.header == header()
    assert len(read) == len(lengths)
    assert read.lengths.tolist() == lengths
    assert all(np.array_equal(a, b) for a, b in zip(read, sequences, strict=True))


def test_values_are_memory_mapped(tmp_path):
    path = tmp_path / "audio.safetensors"
    write_sequences(path, Sequences.of([np.ones((3, 2), np.float32)], header()))
    assert isinstance(read_sequences(path).values, np.memmap)


def test_sequences_are_cut_to_the_length_of_the_header():
    assert Sequences.of([np.zeros((9, 2))], header(length=4)).lengths.tolist() == [4]


@given(arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=True)))
def test_tensors_keep_every_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("store") / "t.safetensors"
    write_tensors(path, {"values": values}, {"b": 1, "a": [2]})
    tensors, metadata = read_tensors(path)
    assert tensors["values"].tobytes() == values.tobytes()
    assert metadata == {"b": 1, "a": [2]}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_tensors(tmp_path / name, {"b": np.ones(3), "a": np.zeros(2)}, {"z": 1, "y": {"x": 2}})
        write_table(tmp_path / f"{name}.parquet", pd.DataFrame({"a": [1.5, None], "b": ["x", None]}), {"k": "v"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_table_comes_back_with_its_provenance(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "text": ["words", None], "label": [0.5, -1.0]})
    write_table(tmp_path / "t.parquet", table, {"step": "prepare"})
    read, provenance = read_table(tmp_path / "t.parquet")
    assert read.to_dict("list") == {"id": ["a", "b"], "text": ["words", None], "label": [0.5, -1.0]}
    assert provenance == {"step": "prepare"}


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "audio.safetensors"
    path.write_bytes(content)
    with pytest.raises(ElisionError, match=r"audio\.safetensors is damaged, or no store file"):
        read_tensors(path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    for read in (read_tensors, read_table):
        with pytest.raises(ElisionError, match="snakemake --cores all"):
            read(tmp_path / "nothing")


def test_a_foreign_parquet_file_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ElisionError, match="is damaged, or no table of Elision"):
        read_table(tmp_path / "t.parquet")


def test_a_store_whose_files_do_not_fit_is_refused(store, tmp_path):
    write_table(tmp_path / "samples.parquet", store.samples.iloc[:-1], {"modalities": ["audio"]})
    write_sequences(tmp_path / "audio.safetensors", store.modalities["audio"])
    with pytest.raises(ElisionError, match="24 sequences for 23 samples"):
        Store.open(tmp_path)


def _file(entries: dict, content: bytes = bytes(16)) -> bytes:
    header = json.dumps({"__metadata__": {"elision": "{}"}, **entries}).encode()
    return len(header).to_bytes(8, "little") + header + content


@pytest.mark.parametrize(
    "content",
    [
        _file({"values": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 0]}}),
        _file({"values": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}}),
        _file({"values": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}}),
        _file({"values": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}),
        _file({"values": {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}}),
        _file({"values": {"dtype": "F32", "shape": [4], "data_offsets": None}}),
        _file({"values": []}),
        (5).to_bytes(8, "little") + b"[1,2]",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
    ids=["nothing", "too large", "negative", "beyond", "text", "null", "list", "no dict", "deep"],
)
def test_a_file_whose_sizes_cannot_be_is_named(tmp_path, content):
    path = tmp_path / "audio.safetensors"
    path.write_bytes(content)
    with pytest.raises(ElisionError, match=r"audio\.safetensors is damaged, or no store file"):
        read_tensors(path)


@pytest.mark.parametrize("offsets", [[0, 5, 3, 8], [0, 3, 5, 9], [1, 3, 5, 8], [0, 3, 5, 7], [-1, 3, 5, 8], []])
def test_offsets_that_do_not_fit_the_values_are_refused(tmp_path, offsets):
    path = tmp_path / "audio.safetensors"
    header = {"modality": "audio", "length": 9, "extractor": ""}
    values = np.ones((8, 2), np.float32)
    write_tensors(path, {"values": values, "offsets": np.array([0, 3, 5, 8])}, header)
    assert read_sequences(path).lengths.tolist() == [3, 2, 3]
    write_tensors(path, {"values": values, "offsets": np.array(offsets, np.int64)}, header)
    with pytest.raises(ElisionError, match=r"audio\.safetensors is damaged, or no store file"):
        read_sequences(path)


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame({"a": ["words"] * 500}), {"step": "prepare"})
    content = path.read_bytes()
    for damaged in (b"", content[:-40], content[: len(content) // 2], b"PAR1" + bytes(400) + content[-8:]):
        path.write_bytes(damaged)
        with pytest.raises(ElisionError, match=r"t\.parquet is damaged, or no table of Elision"):
            read_table(path)


def test_blocks_of_a_file_are_its_sequences_end_to_end(tmp_path, monkeypatch):
    made = Sequences.of([np.full((n, 2), n, np.float32) for n in (3, 0, 5, 1)], header())
    write_sequences(tmp_path / "audio.safetensors", made)
    read = read_sequences(tmp_path / "audio.safetensors")
    monkeypatch.setattr("elision.store._BLOCK", 8)
    rows = np.array([3, 2, 0, 1])
    blocks = list(read.blocks(rows))
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks), np.concatenate([made[row] for row in rows]))
    assert list(read.blocks(rows[:0])) == []
