"""Files that are made to hang, to crash or to fill memory, or to show other files: refused at once, and small."""

import json
import pickle
import re
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elision.arrayfiles import _pages
from elision.datasets._prepare import prepare
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.task import SPLITS

IDS = [f"clip {k}" for k in range(6)]
SECRET = "/etc/passwd"
SECONDS, BYTES = 8, 500 << 20
ZEROS = 200 << 20  # bytes of an array that takes 0.2 MB


def mmsa(folder: Path, content: bytes) -> dict:
    (folder / "features.pkl").write_bytes(content)
    return {"source": "mmsa", "file": str(folder / "features.pkl")}


def arrays(folder: Path, name: str, **audio: str) -> dict:
    rows = [f"{sample},0.5,{SPLITS[k % 3]}" for k, sample in enumerate(IDS)]
    (folder / "table.csv").write_text("\n".join(["id,label,split", *rows]))
    return {"source": "arrays", "table": str(folder / "table.csv"), "audio": {"file": str(folder / name), **audio}}


def mer2024(folder: Path, file: str) -> dict:
    return {"source": "mer2024", "labels": str(folder / file), "features": str(folder), "audio": "voices"}


# --- pickles


def _nested(kind: bytes, depth: int = 300_000) -> bytes:
    return b"\x80\x02)" + kind * depth + b"."


def _as_key(content: bytes) -> bytes:
    return b"\x80\x02}" + content[2:-1] + b"K\x01s."


def _shared(depth: int = 60) -> bytes:
    item = ["a"]
    for _ in range(depth):
        item = [item, item]
    return pickle.dumps(item, 2)


def _tuples(depth: int = 60) -> tuple:
    item = ("a",)
    for _ in range(depth):
        item = (item, item)
    return item


def _towers(count: int = 60, height: int = 90) -> list:
    """Lists, each of which is as deep as may be above the one before."""
    towers = [["a"]]
    for _ in range(count):
        item = towers[-1]
        for _ in range(height):
            item = [item]
        towers.append(item)
    return towers


def _many(start: bytes, shared: bytes, one: bytes, count: int) -> bytes:
    """A list of ``count`` objects made of a large one, which is in the memo under 9."""
    return start + b"(" + shared + b"q\x090" + one * count + b"l."


def _text(size: int) -> bytes:
    return b"X" + size.to_bytes(4, "little") + b"a" * size


_DTYPE = b"cnumpy\ndtype\nX%c\x00\x00\x00%s\x89\x88\x87R"
_WORD = _DTYPE % (8, b"S3000000")
_SCALAR = b"cnumpy.core.multiarray\nscalar\n" + _WORD + b"h\x09\x86R"
_OBJECTS = b"cnumpy\nndarray\nK\x00\x85X\x01\x00\x00\x00b\x86R(K\x01J%s\x85h\x08\x89h\x09tb"

PICKLES = {
    "shared lists": _shared(),
    "shared tuples": pickle.dumps({"train": _tuples()}),
    "shared in a part": pickle.dumps({split: {"id": _tuples(), "audio": _tuples()} for split in SPLITS}),
    "a set of shared tuples": b"\x80\x04\x8f(" + pickle.dumps(_tuples())[2 + 9 : -1] + b"\x90.",
    "a frozenset of shared tuples": b"\x80\x04(" + pickle.dumps(_tuples())[2 + 9 : -1] + b"\x91.",
    "a key of shared tuples": _as_key(pickle.dumps(_tuples(), 2)),
    "nested tuples": _nested(b"\x85"),
    "nested in shared lists": pickle.dumps({"train": {"id": _towers()}}, 2),
    "nested pairs": _nested(b")\x86"),
    "nested dicts": b"\x80\x02" + b"}K\x01" * 100_000 + b"N" + b"s" * 100_000 + b".",
    "nested lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "nested frozensets": b"\x80\x04" + b"(" * 100_000 + b"\x91" * 100_000 + b".",
    "nested calls": b"\x80\x02cbuiltins\nset\nq\x000" + b"h\x00" * 100_000 + b")" + b"\x85R" * 100_000 + b".",
    "a key of nested tuples": _as_key(_nested(b"\x85")),
    "a set of nested tuples": b"\x80\x04\x8f()" + b"\x85" * 300_000 + b"\x90.",
    "an argument of nested tuples": b"\x80\x02cnumpy\ndtype\n)" + b"\x85" * 300_000 + b"R.",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "itself in a tuple": b"\x80\x02]q\x00h\x00\x85a.",
    "itself in a dict": b"\x80\x02}q\x00K\x01h\x00s.",
    "bytes of a number": b"\x80\x02cbuiltins\nbytes\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R.",
    "a set of bytes": b"\x80\x02cbuiltins\nset\nC\x03abc\x85R.",
    "a complex of text": b"\x80\x02cbuiltins\ncomplex\nX\x02\x00\x00\x001j\x85R.",
    "encoded again and again": _many(
        b"\x80\x02", _text(1 << 20), b"c_codecs\nencode\nh\x09X\x06\x00\x00\x00latin1\x86R", 1000
    ),
    "words again and again": _many(b"\x80\x02", _text(3_000_000), _SCALAR, 1000),
    "text again and again": _many(b"\x80\x02", _text(1 << 20), b"h\x09", 5000),
    "arrays of a shared list": (
        b"\x80\x02("
        + _DTYPE % (2, b"O8")
        + b"q\x080]("
        + b"N" * 100_000
        + b"eq\x090"
        + _OBJECTS % (100_000).to_bytes(4, "little") * 3000
        + b"l."
    ),
    "hashes all the same": pickle.dumps({complex(1000003 * k, -k) for k in range(50)}, 2)[:-1]
    + b"0cbuiltins\nset\n("
    + b"".join(
        b"cbuiltins\ncomplex\nG%sG%s\x86R" % (struct.pack(">d", 1000003 * k), struct.pack(">d", -k))
        for k in range(50_000)
    )
    + b"l\x85R.",
    "a number of a million digits": b"\x80\x02\x8b" + (400_000).to_bytes(4, "little") + b"\x7f" * 400_000 + b".",
    "an array of many dimensions": (
        b"\x80\x02cnumpy\nndarray\nK\x00\x85X\x01\x00\x00\x00b\x86R(K\x01("
        + b"J\xff\xff\xff\x7f" * 100_000
        + b"t"
        + _DTYPE % (2, b"f8")
        + b"\x89X\x00\x00\x00\x00tb."
    ),
    "a lone surrogate": pickle.dumps({"train": ["\udc80"]}),
    "a lone surrogate in a key": pickle.dumps({"\udc80": 1}),
    "a code point beyond Unicode": pickle.dumps(np.frombuffer(b"\xff\xff\xff\xff", "<U1")),
    "a surrogate in an array": pickle.dumps(np.frombuffer(b"\x00\xd8\x00\x00", "<U1")),
    "a key that stands twice": b"\x80\x02}(K\x01K\x02K\x01K\x03u.",
    "a key that is a number with a point": pickle.dumps({1.5: 1}),
    "a state of a list": b"\x80\x02]}b.",
    "items for text": b"\x80\x02X\x01\x00\x00\x00aK\x01a.",
}


# --- archives


def _zeros(path: Path, size: int = ZEROS, shape: tuple | None = None, method: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a .npz file of zeros without having them in memory."""
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("x.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape or (6, size // 24)}
        )
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


def _objects_npz(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("train_corpus.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(content)


def npz_bomb(folder: Path) -> dict:
    _zeros(folder / "a.npz")
    return arrays(folder, "a.npz", values="x")


def npz_of_another_compression(folder: Path) -> dict:
    _zeros(folder / "a.npz", 1 << 20, method=zipfile.ZIP_LZMA)
    return arrays(folder, "a.npz", values="x")


def npz_of_two_arrays_of_one_name(folder: Path) -> dict:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for name in ("x.npy", "x"):
            archive.writestr(name, b"words")
    return arrays(folder, "a.npz", values="x")


def npz_of_a_shape_that_is_not_there(folder: Path) -> dict:
    _zeros(folder / "a.npz", 1 << 20, (6, 10**30))
    return arrays(folder, "a.npz", values="x")


def npz_of_emotions_that_is_a_bomb(folder: Path) -> dict:
    _objects_npz(folder / "a.npz", b"\x80\x04\x8e" + ZEROS.to_bytes(8, "little") + bytes(ZEROS) + b".")
    return mer2024(folder, "a.npz")


def npz_of_emotions_that_are_shared(folder: Path) -> dict:
    _objects_npz(folder / "a.npz", _shared())
    return mer2024(folder, "a.npz")


def _npy(folder: Path, shape: str, descr: str = "<f4", content: bytes = bytes(96)) -> dict:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    (folder / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content)
    return arrays(folder, "a.npy")


NPY = {
    "npy of 10^30": ("(6, 1000000000000000000000000000000)", "<f4"),
    "npy of nothing 10^12 times": ("(1000000000000, 6)", "<U0"),
    "npy of a negative shape": ("(-6, -4)", "<f4"),
    "npy of a negative shape that fits": ("(-1, -24)", "<f4"),
    "npy of objects": ("(6, 2)", "|O"),
    "npy of a hundred dimensions": (str((1,) * 100), "<f4"),
    "npy of records": ("(6, 2)", "V2147483647"),
}


# --- Parquet


def parquet_bomb(folder: Path) -> dict:
    values = pa.array(np.zeros(ZEROS // 8))
    rows = np.linspace(0, len(values), len(IDS) + 1).astype(np.int32)
    pq.write_table(pa.table({"x": pa.ListArray.from_arrays(rows, values)}), folder / "a.parquet", compression="zstd")
    return arrays(folder, "a.parquet", values="x")


def parquet_table_of_long_words(folder: Path) -> dict:
    words = pa.DictionaryArray.from_arrays(np.zeros(300, np.int32), pa.array(["a" * 900_000]))
    splits = pa.array([SPLITS[k % 3] for k in range(300)])
    table = {"id": pa.array(map(str, range(300))), "label": np.zeros(300), "split": splits, "text": words}
    pq.write_table(pa.table(table), folder / "table.parquet", compression="zstd")
    return arrays(folder, "a.npy") | {"table": str(folder / "table.parquet")}


def parquet_of_prefixes(folder: Path) -> dict:
    words = ["a" * 500_000 + str(k) for k in range(60)]
    table = pa.table({"id": words, "label": np.zeros(60), "split": [SPLITS[k % 3] for k in range(60)]})
    options = {"use_dictionary": False, "column_encoding": {"id": "DELTA_BYTE_ARRAY"}}
    pq.write_table(table, folder / "table.parquet", **options)
    return arrays(folder, "a.npy") | {"table": str(folder / "table.parquet")}


def _varint(number: int) -> bytes:
    parts = [number >> shift & 127 for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


def parquet_page_that_holds_more_than_the_end_of_the_file_says(folder: Path) -> dict:
    count, lie = 2_000_000, 60_000_000
    values, rows = pa.array(np.zeros(count, np.int8)), np.linspace(0, count, len(IDS) + 1).astype(np.int32)
    options = {"use_dictionary": False, "compression": "zstd", "data_page_size": 1 << 30, "write_statistics": False}
    pq.write_table(pa.table({"x": pa.ListArray.from_arrays(rows, values)}), folder / "a.parquet", **options)
    content = (folder / "a.parquet").read_bytes()
    assert content.find(_varint(2 * count)) < 40  # in the header of the page, long before the end of the file
    (folder / "a.parquet").write_bytes(content.replace(_varint(2 * count), _varint(2 * lie), 1))
    return arrays(folder, "a.parquet", values="x")


def parquet_of_records(folder: Path) -> dict:
    pq.write_table(pa.table({"x": [{"y": 1.0}] * 6}), folder / "a.parquet")
    return arrays(folder, "a.parquet", values="x")


# --- HDF5


def _h5(folder: Path) -> h5py.File:
    return h5py.File(folder / "a.h5", "w")


def h5_external_storage(folder: Path) -> dict:
    with _h5(folder) as file:
        file.create_dataset("x", (6, 20), "u1", external=[(SECRET, 0, 120)])
    return arrays(folder, "a.h5", values="x")


def h5_external_link(folder: Path) -> dict:
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.ones((6, 3))
    with _h5(folder) as file:
        file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "x")
    return arrays(folder, "a.h5", values="x")


def h5_link_to_an_external_link(folder: Path) -> dict:
    h5_external_link(folder)
    with h5py.File(folder / "a.h5", "a") as file:
        file["group/x"] = h5py.SoftLink("/x")
    return arrays(folder, "a.h5", values="group/x")


def h5_external_group(folder: Path) -> dict:
    with h5py.File(folder / "other.h5", "w") as file:
        for name in IDS:
            file[f"all/{name}"] = np.ones((2, 3))
    with _h5(folder) as file:
        file["group"] = h5py.ExternalLink(str(folder / "other.h5"), "all")
    return arrays(folder, "a.h5", values="group/{id}")


def h5_virtual(folder: Path) -> dict:
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.ones((6, 3))
    layout = h5py.VirtualLayout((6, 3), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (6, 3))
    with _h5(folder) as file:
        file.create_virtual_dataset("x", layout)
    return arrays(folder, "a.h5", values="x")


def h5_ids_elsewhere(folder: Path) -> dict:
    with _h5(folder) as file:
        file["x"] = np.ones((6, 3))
        file.create_dataset("ids", (6,), "S5", external=[(SECRET, 0, 30)])
    return arrays(folder, "a.h5", values="x", ids="ids")


def h5_links_in_a_circle(folder: Path) -> dict:
    with _h5(folder) as file:
        file["x"], file["y"] = h5py.SoftLink("/y"), h5py.SoftLink("/x")
    return arrays(folder, "a.h5", values="x")


def h5_bomb(folder: Path) -> dict:
    with _h5(folder) as file:
        data = file.create_dataset("x", (6, ZEROS // 24), "f4", chunks=(1, ZEROS // 24), compression="gzip")
        chunk = zlib.compress(bytes(ZEROS // 6))
        for row in range(6):
            data.id.write_direct_chunk((row, 0), chunk)
    return arrays(folder, "a.h5", values="x")


def h5_names_of_one_array(folder: Path) -> dict:
    with _h5(folder) as file:
        file.create_dataset(IDS[0], data=np.ones((60_000, 100), np.int8), chunks=(1 << 13, 100), compression="gzip")
        for name in IDS[1:]:
            file[name] = file[IDS[0]]
    return arrays(folder, "a.h5", values="{id}")


def npz_of_many_arrays(folder: Path) -> dict:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in IDS:
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.zeros((60_000, 100), np.float32))
    return arrays(folder, "a.npz", values="{id}")


def h5_chunk_that_goes_on(folder: Path) -> dict:
    with _h5(folder) as file:
        data = file.create_dataset("x", (6, 8), "f4", chunks=(6, 8), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(2 * ZEROS)))
    return arrays(folder, "a.h5", values="x")


def h5_chunk_larger_than_its_array(folder: Path) -> dict:
    with _h5(folder) as file:
        data = file.create_dataset("x", (6, 8), "f4", chunks=(6, ZEROS // 8), maxshape=(None, None), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(8)))
    return arrays(folder, "a.h5", values="x")


# --- other forms


def mat_bomb(folder: Path) -> dict:
    element = struct.pack("<II", 14, ZEROS) + bytes(ZEROS)
    packed = zlib.compress(element, 9)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (folder / "a.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    return arrays(folder, "a.mat", values="x")


def pt_of_a_view_of_one_number(folder: Path) -> dict:
    import torch

    torch.save(torch.ones(1).expand(6, ZEROS // 24), folder / "a.pt")
    return arrays(folder, "a.pt")


def pt_of_shared_tuples(folder: Path) -> dict:
    with zipfile.ZipFile(folder / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", _shared())
    return arrays(folder, "a.pt", values="x")


def pkl_of_shared_lists(folder: Path) -> dict:
    (folder / "a.pkl").write_bytes(_shared())
    return arrays(folder, "a.pkl", values="x")


def npz_of_objects_that_is_a_bomb(folder: Path) -> dict:
    _objects_npz(folder / "a.npz", b"\x80\x04\x8e" + ZEROS.to_bytes(8, "little") + bytes(ZEROS) + b".")
    return arrays(folder, "a.npz", values="train_corpus")


def npz_of_objects_that_are_shared(folder: Path) -> dict:
    _objects_npz(folder / "a.npz", _shared())
    return arrays(folder, "a.npz", values="train_corpus")


def csv_of_short_rows(folder: Path) -> dict:
    header = ",".join(f"x{k}" for k in range(100_000))
    (folder / "a.csv").write_text(f"{header}\n" + "1\n" * 50_000)
    return arrays(folder, "a.csv")


def csd_in_other_files(folder: Path) -> dict:
    with h5py.File(folder / "other.h5", "w") as file:
        for name in IDS:
            file[f"{name}/features"], file[f"{name}/intervals"] = np.ones((2, 3)), np.ones((2, 2))
    with h5py.File(folder / "a.csd", "w") as file:
        for name in IDS:
            file[f"F/data/{name}/intervals"] = np.ones((2, 2))
            file[f"F/data/{name}/features"] = h5py.ExternalLink(str(folder / "other.h5"), f"{name}/features")
    return arrays(folder, "a.csd")


def h5_of_any_length_that_is_shared(folder: Path) -> dict:
    """Each entry of an array of variable length leads to the same content, which is large."""
    with _h5(folder) as file:
        found = file.create_dataset("x", (600,), h5py.vlen_dtype(np.float32), chunks=(600,))
        found[0] = np.ones(1 << 18, np.float32)
        file.flush()
        _, one = found.id.read_direct_chunk((0,))
        found.id.write_direct_chunk((0,), one[:16] * 600)
    rows = [f"clip {k},0.5,{SPLITS[k % 3]}" for k in range(600)]
    entry = arrays(folder, "a.h5", values="x")
    (folder / "table.csv").write_text("\n".join(["id,label,split", *rows]))
    return entry


def _mmin(folder: Path, fill) -> dict:
    names = [f"Ses0{k % 5 + 1}F_impro01_F{k:03}" for k in range(9)]
    for part, of in (("trn", names[:3]), ("val", names[3:6]), ("tst", names[6:])):
        target = folder / "target" / "1"
        target.mkdir(parents=True, exist_ok=True)
        np.save(target / f"{part}_int2name.npy", np.array(of))
        np.save(target / f"{part}_label.npy", np.eye(3, dtype=np.float32))
    for letter, name in (("A", "comparE"), ("V", "denseface"), ("L", "bert_large")):
        (folder / letter).mkdir()
        with h5py.File(folder / letter / f"{name}-own.h5", "w") as file:
            for utterance in names:
                file[utterance] = np.ones((3, 4))
            if letter == "A":
                del file[names[4]]
                fill(file, names[4])
    own = {"text": "bert_large-own", "audio": "comparE-own", "vision": "denseface-own"}
    return {"source": "mmin", "root": str(folder), "classes": ["a", "b", "c"], "cross_validation": 0, **own}


def mmin_external_storage(folder: Path) -> dict:
    return _mmin(folder, lambda file, name: file.create_dataset(name, (3, 4), "u1", external=[(SECRET, 0, 12)]))


def mmin_names_of_one_array(folder: Path) -> dict:
    entry = _mmin(folder, lambda file, name: file.create_dataset(name, (3, 4), "f4"))
    with h5py.File(entry["root"] + "/A/comparE-own.h5", "a") as file:
        names = list(file)
        for name in names:
            del file[name]
        zeros = np.zeros((60_000, 100), np.int8)
        first = file.create_dataset(names[0], data=zeros, chunks=(1 << 13, 100), compression="gzip")
        for name in names[1:]:
            file[name] = first
    return entry


def mmin_external_link(folder: Path) -> dict:
    return _mmin(folder, lambda file, name: file.__setitem__(name, h5py.ExternalLink("../L/bert_large-own.h5", name)))


def mmin_virtual(folder: Path) -> dict:
    layout = h5py.VirtualLayout((3, 4), "f8")
    layout[:] = h5py.VirtualSource("../L/bert_large-own.h5", "Ses01F_impro01_F000", (3, 4))
    return _mmin(folder, lambda file, name: file.create_virtual_dataset(name, layout))


# --- tables


def wide_rows(folder: Path) -> dict:
    entry = arrays(folder, "a.npy")
    (folder / "table.csv").write_text("id,label,split" + "," * 100_000 + "\n" + "a,1,train\n" * 50_000)
    return entry


def wide_clips(folder: Path) -> dict:
    (folder / "clips.csv").write_text("id,text,label,split" + ",x" * 100_000 + "\n" + "a,b,1,train\n" * 50_000)
    return {"source": "clips", "folder": str(folder)}


def json_of_other_names(folder: Path) -> dict:
    entry = arrays(folder, "a.npy")
    lines = (json.dumps({f"x{k}": 1}) for k in range(60_000))
    (folder / "table.csv").write_text("\n".join(lines))
    return entry


def workbook_of_far_cells(folder: Path) -> dict:
    """Each row has one cell, in the last column that Excel has."""
    import openpyxl

    entry = arrays(folder, "a.npy")
    book = openpyxl.Workbook()
    for row in range(1, 6):
        book.active.cell(row, 1, "id")
    book.save(folder / "whole.xlsx")
    rows = "".join(f'<row r="{k}"><c r="XFD{k}"><v>1</v></c></row>' for k in range(1, 30_000))
    made = zipfile.ZipFile(folder / "table.csv", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "whole.xlsx") as whole, made:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = re.sub(
                    rb"<sheetData>.*</sheetData>", b"<sheetData>" + rows.encode() + b"</sheetData>", content
                )
            made.writestr(name, content)
    return entry


FILES = {
    **{f"pickle: {name}": (lambda folder, c=content: mmsa(folder, c)) for name, content in PICKLES.items()},
    **{name: (lambda folder, s=shape, d=descr: _npy(folder, s, d)) for name, (shape, descr) in NPY.items()},
    **{
        function.__name__: function
        for function in (
            npz_bomb, npz_of_another_compression, npz_of_two_arrays_of_one_name, npz_of_a_shape_that_is_not_there,
            npz_of_emotions_that_is_a_bomb, npz_of_emotions_that_are_shared,
            parquet_bomb, parquet_table_of_long_words, parquet_of_prefixes, parquet_of_records,
            parquet_page_that_holds_more_than_the_end_of_the_file_says,
            h5_external_storage, h5_external_link, h5_link_to_an_external_link, h5_external_group, h5_virtual,
            h5_ids_elsewhere, h5_links_in_a_circle, h5_bomb, h5_chunk_that_goes_on, h5_chunk_larger_than_its_array,
            h5_names_of_one_array, npz_of_many_arrays, mmin_names_of_one_array,
            mat_bomb, pt_of_a_view_of_one_number, pt_of_shared_tuples, pkl_of_shared_lists,
            npz_of_objects_that_is_a_bomb, npz_of_objects_that_are_shared, csv_of_short_rows, csd_in_other_files,
            h5_of_any_length_that_is_shared,
            mmin_external_storage, mmin_external_link, mmin_virtual, wide_rows, wide_clips,
            json_of_other_names, workbook_of_far_cells,
        )
    },
}  # fmt: skip


def prepare_all(listed: Path) -> None:
    """Prepare every dataset of a list, as a process of its own does under limits, and print what is said of each."""
    entries = json.loads(listed.read_text())
    settings = {name: Params(datasets={"mine": entry}, methods=["majority"]) for name, entry in entries.items()}
    results = listed.parent / "results"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    for name, params in settings.items():
        start = time.process_time()
        # A crash or a hang ends the process, and the name is the last line.
        print(json.dumps(name), flush=True)
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(start + 10), most))
        places = {"clips": results / "clips.parquet", "media": results / "media", "store": results}
        try:
            prepare(params, "mine", **places, provenance={})
            said = ["prepared", ""]
        except ElisionError as error:
            said = ["refused", str(error)]
        except Exception as error:
            said = [type(error).__name__, str(error)]
        print(json.dumps([*said, time.process_time() - start]), flush=True)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> dict[str, list]:
    """What is said of each file, and the seconds that it takes."""
    folder, entries = tmp_path_factory.mktemp("hostile"), {}
    for number, (name, write) in enumerate(FILES.items()):
        place = folder / f"{number}"
        place.mkdir()
        entries[name] = write(place)
    (folder / "list.json").write_text(json.dumps(entries))
    command = [sys.executable, __file__, str(folder / "list.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1]}: ended with {done.returncode}\n{done.stderr[-2000:]}"
    return dict(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_at_once(outcome, name):
    kind, message, seconds = outcome[name]
    assert kind == "refused", message
    assert seconds < SECONDS
    assert "memory" not in message and len(message) < 3000


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("h5_external_storage", "x is a dataset with external storage, whose data are in another file; copy the data"),
        ("h5_external_link", "x is an external link, whose data are in another file"),
        ("h5_link_to_an_external_link", "x is an external link"),
        ("h5_external_group", "6 samples ('clip 0', 'clip 1', 'clip 2' and 3 more): group is an external link"),
        ("h5_virtual", "x is a virtual dataset"),
        ("h5_ids_elsewhere", "ids is a dataset with external storage"),
        ("mmin_external_storage", "1 sample ('Ses05F_impro01_F004'): Ses05F_impro01_F004 is a dataset with external"),
        ("mmin_external_link", "Ses05F_impro01_F004 is an external link"),
        ("mmin_virtual", "Ses05F_impro01_F004 is a virtual dataset"),
        ("npz_bomb", "are stored; is it whole? If it is, save it again without compression"),
        ("h5_bomb", "are stored; is it whole? If it is, save it again without compression"),
        ("parquet_bomb", "are stored; is it whole? If it is, save it again without compression"),
        ("parquet_table_of_long_words", "column text, 270000000 bytes, but only"),
        ("parquet_page_that_holds_more_than_the_end_of_the_file_says", "column x, "),
        ("mat_bomb", "a.mat: an array, "),
        ("pt_of_a_view_of_one_number", "but only 4 bytes of it are stored"),
        ("pt_of_shared_tuples", "larger than the file"),
        ("pkl_of_shared_lists", "larger than the file"),
        ("npz_of_objects_that_is_a_bomb", "are stored; is it whole? If it is, save it again without compression"),
        ("npz_of_objects_that_are_shared", "larger than the file"),
        ("csv_of_short_rows", "50001 rows like the first one"),
        ("wide_clips", "clips.csv: 50000 rows like the first one"),
        ("json_of_other_names", "table.csv: 60000 rows like the first one"),
        ("workbook_of_far_cells", "rows, "),
        ("csd_in_other_files", "features is an external link"),
        ("h5_of_any_length_that_is_shared", "together the samples have, "),
        ("pickle: shared lists", "larger than the file"),
        ("pickle: nested tuples", "nested more than 100 deep"),
        ("pickle: nested in shared lists", "nested more than 100 deep"),
        ("h5_names_of_one_array", "together the samples have, 72000000 bytes, but only"),
        ("npz_of_many_arrays", "together the samples have, "),
        ("mmin_names_of_one_array", "together the utterances have, 72000000 bytes, but only"),
        ("pickle: itself", "contains itself"),
        ("pickle: a lone surrogate", "surrogates not allowed"),
        ("pickle: hashes all the same", "hashes are all the same"),
    ],
)
def test_what_is_wrong_and_what_to_do_is_told(outcome, name, told):
    assert told in outcome[name][1]


# --- what looks like it and is right


def test_links_within_a_file_are_followed(tmp_path):
    from test_datasets_bad_input import Dataset

    with _h5(tmp_path) as file:
        file["data/x"] = np.arange(18.0).reshape(6, 3)
        file["y"], file["group/z"] = h5py.SoftLink("data/x"), h5py.SoftLink("/y")
    for name in ("data/x", "y", "group/z", "/data/./x"):
        entry = arrays(tmp_path, "a.h5", values=name)
        Dataset(Params(datasets={"mine": entry}, methods=["majority"]), tmp_path / "a.h5", tmp_path / "results")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_are_counted_as_the_end_of_the_file_says(tmp_path, version, compression, dictionary):
    random = np.random.default_rng(3)
    table = pa.table(
        {
            "words": [None if k % 7 == 0 else "w" * (k % 50) for k in range(3000)],
            "lists": [random.integers(0, 9, k % 5).tolist() if k % 3 else None for k in range(3000)],
            "numbers": random.normal(size=3000),
        }
    )
    path = tmp_path / "a.parquet"
    options = {"data_page_version": version, "compression": compression, "use_dictionary": dictionary}
    pq.write_table(table, path, row_group_size=1100, data_page_size=1000, write_statistics=True, **options)
    metadata = pq.ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        for k in range(3):
            column = metadata.row_group(group).column(k)
            start = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset)
            pages = list(_pages(path, start, start + column.total_compressed_size))
            assert sum(page.values for page in pages if not page.is_dictionary) == column.num_values
            assert 0 <= column.total_uncompressed_size - sum(page.size for page in pages) < 100 * len(pages)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_long_text_and_categories_of_a_parquet_table_come_back(tmp_path, compression):
    from elision.datasets._tables import read

    text = [f"{k} " * 400 if k % 3 else None for k in range(200)]
    frame = pd.DataFrame({"text": text, "split": pd.Categorical(list(SPLITS[:2]) * 100), "label": np.arange(200) / 7})
    frame.to_parquet(tmp_path / "table.parquet", compression=compression if compression != "none" else None)
    table = read(tmp_path / "table.parquet")
    assert table.columns == ["text", "split", "label"]
    cells = {name: [row.cells[name] for row in table.rows] for name in table.columns}
    assert cells["text"] == [(words or "").strip() for words in text]
    assert cells["split"] == list(SPLITS[:2]) * 100
    assert [float(cell) for cell in cells["label"]] == (np.arange(200) / 7).tolist()


if __name__ == "__main__":
    prepare_all(Path(sys.argv[1]))
