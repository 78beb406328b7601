import bz2
import collections
import gzip
import hashlib
import io
import itertools
import lzma
import os
import pickle
import pickletools
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elision import pickles
from elision.errors import ElisionError

PROTOCOLS = (2, 3, 4, 5)

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.unicode_string_dtypes(endianness="?"),
    hnp.byte_string_dtypes(),
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
)
contents = st.recursive(
    st.one_of(scalars, arrays, st.frozensets(scalars), st.sets(scalars)),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.one_of(st.text(), st.binary()), inner)
    ),
    max_leaves=8,
)


def write(folder, item, protocol=4):
    path = folder / "file.pkl"
    path.write_bytes(pickle.dumps(item, protocol=protocol))
    return path


def same(a, b):
    if isinstance(a, np.ndarray | np.generic):
        nan = {"equal_nan": True} if a.dtype.kind in "fc" else {}
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, **nan)
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(item=contents, protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=150)
def test_arrays_and_containers_come_back_as_they_were_written(tmp_path_factory, item, protocol):
    path = write(tmp_path_factory.getbasetemp(), item, protocol)
    assert same(pickles.load(path), item)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "item",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.float32(0.1),
        np.str_(""),
        np.str_("utterance"),
        np.bool_(True),
        np.zeros((0, 3), np.float32),
        np.array(3, np.int64),
    ],
    ids=str,
)
def test_every_layout_of_an_array_is_read(tmp_path, item, protocol):
    assert same(pickles.load(write(tmp_path, item, protocol)), item)


@pytest.mark.parametrize("order", "CF")
def test_object_arrays_hold_their_objects_in_place(tmp_path, order):
    item = np.array([["a", None, 3], [[1, 2], {"k": np.arange(2)}, (1,)]], dtype=object, order=order)
    read = pickles.load(write(tmp_path, item))
    assert read.shape == (2, 3) and read.dtype == object
    assert read[1, 0] == [1, 2] and read[0].tolist() == ["a", None, 3]
    assert np.array_equal(read[1, 1]["k"], [0, 1])


def test_both_names_of_numpys_core_are_known(tmp_path):
    array = np.arange(4.0)
    for protocol in PROTOCOLS:
        new = pickle.dumps(array, protocol=protocol)
        assert b"numpy._core" in new
        path = tmp_path / "old.pkl"
        path.write_bytes(_renamed(new))
        assert np.array_equal(pickles.load(path), array)


def _renamed(data):
    """The same pickle as NumPy 1 wrote it."""
    out = io.BytesIO()
    stream = [*list(pickletools.genops(data)), (None, None, len(data))]
    for (op, argument, start), (_, _, stop) in itertools.pairwise(stream):
        if op.name == "FRAME":
            continue
        if isinstance(argument, str) and "numpy._core" in argument:
            name = argument.replace("numpy._core", "numpy.core").encode()
            if op.name == "GLOBAL":
                out.write(b"c" + name.replace(b" ", b"\n") + b"\n")
            else:
                out.write(b"\x8c" + bytes([len(name)]) + name)
            continue
        out.write(data[start:stop])
    return out.getvalue()


def test_digest_is_that_of_the_whole_file(tmp_path):
    path = write(tmp_path, {"a": np.arange(300_000)})
    path.write_bytes(path.read_bytes() + b"trailing bytes")
    digest = hashlib.sha256()
    assert len(pickles.load(path, digest=digest)["a"]) == 300_000
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


# --- hostile files: every one would create the file `marker` (or crash) if it were simply unpickled


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    text = str(marker)

    def unicode(word):
        return b"\x8c" + bytes([len(word)]) + word.encode()

    arguments = b"X" + len(touch).to_bytes(4, "little") + touch.encode() + b"\x85"
    listed = np.empty(1, object)
    listed[0] = Calls(os.system, touch)
    return {
        "os.system by REDUCE": pickle.dumps(Calls(os.system, touch), 2),
        "os.system by STACK_GLOBAL": b"\x80\x04" + unicode("os") + unicode("system") + b"\x93" + arguments + b"R.",
        "os.system by GLOBAL": b"cos\nsystem\n" + arguments + b"R.",
        "os.system by INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "os.system by OBJ": b"(cos\nsystem\nX" + len(touch).to_bytes(4, "little") + touch.encode() + b"o.",
        "os.system by NEWOBJ": b"\x80\x02cos\nsystem\n" + arguments + b"\x81.",
        "dotted name": b"\x80\x04" + unicode("numpy") + unicode("ndarray.tofile") + b"\x93.",
        "dotted name out of numpy": b"\x80\x04"
        + unicode("numpy")
        + unicode("ma.core.os.system")
        + b"\x93"
        + arguments
        + b"R.",
        "builtins.eval": pickle.dumps(Calls(eval, code)),
        "builtins.exec": pickle.dumps(Calls(exec, code)),
        "builtins.getattr": pickle.dumps(Calls(getattr, "a", "upper")),
        "builtins.open": pickle.dumps(Calls(open, text, "w")),
        "numpy.load": pickle.dumps(Calls(np.load, text)),
        "numpy.fromfile": pickle.dumps(Calls(np.fromfile, text)),
        "numpy.savetxt": pickle.dumps(Calls(np.savetxt, text, [1.0])),
        "numpy.memmap": pickle.dumps(Calls(np.memmap, text, "u1", "w+", 0, (4,))),
        "in a dict of arrays": pickle.dumps({"audio": np.zeros(3), "x": [Calls(os.system, touch)]}),
        "in an object array": pickle.dumps({"id": listed}),
        "as a dtype argument": pickle.dumps(Calls(np.dtype, Calls(os.system, touch))),
        "second pickle's extension registry": b"\x80\x02\x82\x01.",
        "persistent id": b"Ptouch\n.",
    }


@pytest.mark.parametrize("attack", list(hostile("marker")))
def test_nothing_in_a_hostile_pickle_runs(tmp_path, attack):
    marker = tmp_path / "marker"
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile(marker)[attack])
    with pytest.raises(ElisionError, match=r"hostile\.pkl"):
        pickles.load(path)
    assert not marker.exists()


def test_the_attacks_of_these_tests_are_real(tmp_path):
    ran = []
    for attack, data in hostile(tmp_path / "marker").items():
        (tmp_path / "marker").unlink(missing_ok=True)
        try:
            pickle.loads(data)
        except Exception:
            continue
        finally:
            if (tmp_path / "marker").exists():
                ran.append(attack)
    assert {"os.system by REDUCE", "os.system by INST", "os.system by OBJ", "builtins.eval", "numpy.memmap"} < set(ran)
    assert {"in an object array", "as a dtype argument", "os.system by STACK_GLOBAL"} < set(ran)


def test_the_refused_name_and_the_file_are_named(tmp_path):
    path = write(tmp_path, Calls(os.system, "true"))
    with pytest.raises(ElisionError, match=rf"{path}: this pickle wants to use \w+\.system; only NumPy arrays"):
        pickles.load(path)


class Forged:
    """A dtype whose forged state makes NumPy take eight bytes of the file for the address of an object."""

    def __reduce__(self):
        state = (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)
        return np.dtype, ("V8", False, True), state


@pytest.mark.parametrize("code", ["V8", "f8", "O8"])
def test_a_forged_dtype_is_no_way_to_foreign_memory(tmp_path, code):
    class Array:
        def __reduce__(self):
            return np.ndarray, ((0,), "b"), (1, (1,), Forged(), False, b"\x41" * 8)

    data = pickle.dumps(Array(), 4)
    path = tmp_path / "forged.pkl"
    path.write_bytes(data.replace(b"\x8c\x02V8", b"\x8c\x02" + code.encode()))
    if code == "f8":
        assert pickles.load(path).dtype == np.float64
        return
    with pytest.raises(ElisionError, match="not a readable pickle of arrays"):
        pickles.load(path)


def _with_state(dtype, shape, data):
    class Array:
        def __reduce__(self):
            return np.ndarray, ((0,), "b"), (1, shape, np.dtype(dtype), False, data)

    return Array()


@pytest.mark.parametrize(
    "item",
    [
        _with_state("f8", (1000,), b"\0" * 8),
        _with_state("f8", (-1,), b"\0" * 8),
        _with_state("f8", (1,), ["not bytes"]),
        _with_state("O", (1,), b"\0" * 8),
        _with_state("O", (2,), ["one"]),
        _with_state("f8", ("a",), b""),
    ],
)
def test_an_array_that_its_bytes_do_not_fill_is_an_error(tmp_path, item):
    with pytest.raises(ElisionError, match="not a readable pickle"):
        pickles.load(write(tmp_path, item))


@pytest.mark.parametrize(
    "item",
    [
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "M8[s]"),
        np.ma.masked_array([1.0]),
        np.rec.array([(1, 2.0)]),
        np.dtype,
        np.ndarray,
    ],
    ids=lambda item: getattr(item, "__name__", type(item).__name__ + str(getattr(item, "dtype", ""))),
)
def test_other_kinds_of_arrays_are_refused(tmp_path, item):
    with pytest.raises(ElisionError):
        pickles.load(write(tmp_path, {"x": item}))


def test_a_pickle_cannot_change_the_reader(tmp_path):
    before = pickles.load(write(tmp_path, np.arange(3)))
    attack = (
        b"\x80\x02cnumpy\nndarray\n"  # BUILD with a slot state sets attributes on the class itself, if it may
        b"N}\x8c\x07resolveK\x01s\x86b."
    )
    path = tmp_path / "attack.pkl"
    path.write_bytes(attack)
    with pytest.raises(ElisionError):
        pickles.load(path)
    assert same(pickles.load(write(tmp_path, np.arange(3))), before)


def test_an_object_that_contains_itself_is_an_error(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(ElisionError, match="contains itself"):
        pickles.load(write(tmp_path, loop))


def test_shared_objects_are_built_once(tmp_path):
    item = ()
    for _ in range(15):
        item = (item, item)
    read = pickles.load(write(tmp_path, item))
    assert read[0] is read[1]


@pytest.mark.parametrize("cut", [0, 1, 10, 100, 2000, -1])
def test_a_truncated_file_is_an_error_that_says_what_to_do(tmp_path, cut):
    path = write(tmp_path, {"audio": np.arange(1000.0), "id": ["a", "b"]})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ElisionError, match=r"file\.pkl: (not a readable pickle|is empty).*download "):
        pickles.load(path)


def _sized(opcode, size, width=8):
    return opcode + size.to_bytes(width, "little")


BOMBS = {
    "a place in the memo": b"\x80\x02]" + _sized(b"r", 2**31 - 1, 4) + b".",
    "bytes": b"\x80\x04" + _sized(b"\x8e", 3 << 30) + b".",
    "text": b"\x80\x04" + _sized(b"\x8d", 3 << 30) + b".",
    "a bytearray": b"\x80\x05" + _sized(b"\x96", 3 << 30) + b".",
    "a frame": b"\x80\x04" + _sized(b"\x95", 3 << 30) + b"].",
    "a million million bytes": b"\x80\x04" + _sized(b"\x8e", 10**12) + b".",
    "an array of empty strings": (
        b"\x80\x03cnumpy\nndarray\nK\x00\x85X\x01\x00\x00\x00b\x86R(K\x01"
        + _sized(b"\x8a\x06", 10**12, 6)
        + b"\x85cnumpy\ndtype\nX\x02\x00\x00\x00U0\x89\x88\x87R\x89C\x00tb."
    ),
}
MEASURE = """
import resource, sys
from elision import pickles
from elision.errors import ElisionError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        pickles.load(path)
    except ElisionError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_empty_strings_are_not_multiplied(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(BOMBS["an array of empty strings"])
    with pytest.raises(ElisionError, match=r"0 bytes for an array of shape \(1000000000000,\)"):
        pickles.load(path)


def test_a_size_that_the_file_does_not_have_takes_no_memory(tmp_path):
    paths = [tmp_path / f"{number}.pkl" for number in range(len(BOMBS))]
    for path, content in zip(paths, BOMBS.values(), strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200_000  # kB


@given(data=st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "noise.pkl"
    path.write_bytes(data)
    try:
        pickles.load(path)
    except ElisionError as error:
        assert "noise.pkl" in str(error)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ElisionError, match=r"nowhere\.pkl: no such file"):
        pickles.load(tmp_path / "nowhere.pkl")
    with pytest.raises(ElisionError, match="cannot be read"):
        pickles.load(tmp_path)


def test_a_written_pickle_names_no_private_module_and_is_read_by_everyone(tmp_path):
    item = {"audio": np.arange(6, dtype=np.float32).reshape(2, 3), "id": ["a$_$1"], "n": 3}
    path = tmp_path / "out.pkl"
    pickles.dump(item, path)
    data = path.read_bytes()
    assert data[:2] == b"\x80\x04" and b"numpy._core" not in data and b"multiarray" not in data
    for read in (pickle.loads(data), pickles.load(path)):
        assert same(read, item)
    assert pickle.loads(data)["audio"].flags.writeable
    pickles.dump(item, tmp_path / "again.pkl")
    assert (tmp_path / "again.pkl").read_bytes() == data


# --- .npz files with arrays of objects


def archive(folder, **arrays):
    path = folder / "file.npz"
    np.savez_compressed(path, **{name: np.array(array) for name, array in arrays.items()})
    return path


def test_an_archive_holds_numbers_strings_and_objects(tmp_path):
    corpus = {"sample_1": {"emo": "happy", "val": np.float64(1.5)}, "sample_2": {"emo": np.str_("sad"), "val": ""}}
    read = pickles.load_archive(archive(tmp_path, train_corpus=corpus, names=["a", "b"], numbers=[[1.0, 2.0]]))
    assert list(read) == ["train_corpus", "names", "numbers"]
    assert read["train_corpus"].shape == () and read["train_corpus"].item() == corpus
    assert same(read["names"], np.array(["a", "b"])) and same(read["numbers"], np.array([[1.0, 2.0]]))


def test_nothing_in_a_hostile_archive_runs(tmp_path):
    marker = tmp_path / "marker"
    path = archive(tmp_path, train_corpus={"sample": Calls(os.system, f"touch {marker}")})
    with pytest.raises(ElisionError, match=r"file\.npz: this pickle wants to use \w+\.system"):
        pickles.load_archive(path)
    assert not marker.exists()
    np.load(path, allow_pickle=True)["train_corpus"]  # the attack is real
    assert marker.exists()


def test_a_damaged_archive_is_an_error_that_says_what_to_do(tmp_path):
    path = archive(tmp_path, train_corpus={"sample": 1})
    whole = path.read_bytes()
    for content in (b"", b"words", whole[: len(whole) // 2], pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(ElisionError, match=r"file\.npz: (not a readable pickle|is empty).*download "):
            pickles.load_archive(path)
    with pytest.raises(ElisionError, match=r"nowhere\.npz: no such file"):
        pickles.load_archive(tmp_path / "nowhere.npz")


# --- what Python 2 wrote

_NUMBERS = np.array([-1.5, 2.0e-300])
# The same content as cPickle of Python 2.7 with NumPy 1.16 writes it, under protocols 2 and 0.
_ARRAY_2 = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01"
    b"\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U" + bytes([16]) + _NUMBERS.tobytes() + b"tb"
)
_ARRAY_0 = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\n"
    b"I-1\nI0\ntbI00\nS" + repr(_NUMBERS.tobytes()).encode()[1:] + b"\ntb"
)
_SCALAR_2 = (
    b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
_SCALAR_2 += b"U\x04" + np.float32(2.5).tobytes() + b"\x86R"
PYTHON_2 = {
    "array": (b"\x80\x02" + _ARRAY_2 + b".", _NUMBERS),
    "array, protocol 0": (_ARRAY_0 + b".", _NUMBERS),
    "scalar": (b"\x80\x02" + _SCALAR_2 + b".", np.float32(2.5)),
    "latin1": (b"\x80\x02U\x04caf\xe9.", "café"),
    "UTF-8": (b"\x80\x02U\x05caf\xc3\xa9.", "café"),
    "UTF-8, protocol 0": (b"S'caf\\xc3\\xa9'\np1\n.", "café"),
    "long string": (b"\x80\x02T\x05\x00\x00\x00caf\xc3\xa9.", "café"),
    "Unicode": (b"\x80\x02X\x05\x00\x00\x00caf\xc3\xa9.", "café"),
    "keys": (b"\x80\x02}U\x05trainK\x01s.", {"train": 1}),
    "key in UTF-8": (b"\x80\x02}U\x05caf\xc3\xa9K\x01s.", {"café": 1}),
    "set": (b"\x80\x02c__builtin__\nset\n](U\x01aU\x01be\x85R.", {"a", "b"}),
    "ordered dict": (
        b"\x80\x02ccollections\nOrderedDict\n](](U\x01bK\x01e](U\x01aK\x02ee\x85R.",
        {"b": 1, "a": 2},
    ),
    "empty ordered dict": (b"\x80\x02ccollections\nOrderedDict\n)R.", {}),
}


@pytest.mark.parametrize("name", PYTHON_2)
def test_what_python_2_wrote_is_read(tmp_path, name):
    content, expected = PYTHON_2[name]
    path = tmp_path / "old.pkl"
    path.write_bytes(content)
    assert same(pickles.load(path), expected)


def test_the_data_of_an_array_of_python_2_may_happen_to_be_text(tmp_path):
    """The eight bytes are "é" four times, in UTF-8: two floats."""
    content = _ARRAY_2.replace(b"U" + bytes([16]) + _NUMBERS.tobytes(), b"U\x08" + "é".encode() * 4)
    content = content.replace(b"f8", b"f4").replace(b"K\x02\x85cnumpy", b"K\x02\x85cnumpy")
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02" + content + b".")
    assert pickles.load(tmp_path / "old.pkl").tobytes() == "é".encode() * 4


def test_ordered_dicts_are_dicts(tmp_path):
    item = collections.OrderedDict(b=np.arange(3), a=[1])
    for protocol in PROTOCOLS:
        read = pickles.load(write(tmp_path, item, protocol))
        assert list(read) == ["b", "a"] and same(read, dict(item))


@pytest.mark.parametrize("pairs", [b"U\x01a", b"](K\x01e", b"](](K\x01ee", b"(U\x01aU\x01bt", b"](U\x02abe"])
def test_an_ordered_dict_of_something_else_than_pairs_is_refused(tmp_path, pairs):
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R.")
    with pytest.raises(ElisionError, match="not a readable pickle"):
        pickles.load(tmp_path / "old.pkl")


# --- what is no pickle

NO_PICKLES = {
    "page": (b"<!DOCTYPE html><html><head><title>Google Drive</title>", "is a web page, not the file itself; download"),
    "page with spaces": (b"\n  <html lang='en'>", "is a web page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is a Git LFS pointer"),
    "gzip": (gzip.compress(pickle.dumps([1])), "is compressed with gzip; unpack the file first: gunzip < FILE > NEW"),
    "xz": (lzma.compress(b"x"), "is compressed with xz; unpack the file first: unxz"),
    "bzip2": (bz2.compress(b"x"), "is compressed with bzip2; unpack the file first: bunzip2"),
    "PyTorch": (b"PK\x03\x04" + bytes(26) + b"a/data.pkl", "is a file of PyTorch, not a pickle"),
    "zip": (b"PK\x03\x04" + bytes(40), "is a zip archive, not a pickle; unpack the archive first: unzip FILE"),
    "empty": (b"", "is empty; download the file again"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file, not a pickle"),
    "npy": (b"\x93NUMPY\x01\x00", "is a NumPy array (.npy), not a pickle"),
    "old PyTorch": (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "is a file of PyTorch before 1.6, which is not read; convert",
    ),
}


@pytest.mark.parametrize("name", NO_PICKLES)
def test_what_is_no_pickle_is_named(tmp_path, name):
    content, told = NO_PICKLES[name]
    (tmp_path / "features.pkl").write_bytes(content)
    with pytest.raises(ElisionError) as caught:
        pickles.load(tmp_path / "features.pkl")
    assert str(caught.value).startswith(f"{tmp_path}/features.pkl: {told}")


def test_a_tar_archive_is_named(tmp_path):
    (tmp_path / "words").write_text("words")
    with tarfile.open(tmp_path / "features.pkl", "w") as file:
        file.add(tmp_path / "words", "words")
    with pytest.raises(ElisionError, match="is a tar archive; unpack the file first: tar xf FILE"):
        pickles.load(tmp_path / "features.pkl")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (pd.DataFrame({"a": [1]}), "as a table: pandas.read_pickle('OLD.pkl').to_parquet('NEW.parquet')"),
        (scipy.sparse.eye_array(2), "with arrays in the place of sparse matrices: matrix.toarray()"),
        (np.ma.masked_array([1, 2], [0, 1]), "with NumPy arrays, lists and dicts only"),
    ],
    ids=["pandas", "scipy", "numpy"],
)
def test_what_is_no_array_is_refused_with_the_conversion(tmp_path, item, told):
    with pytest.raises(ElisionError, match="this pickle wants to use ") as caught:
        pickles.load(write(tmp_path, item))
    assert str(caught.value).endswith(f"load and save it again {told}")
