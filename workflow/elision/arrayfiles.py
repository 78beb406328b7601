"""Foreign files of arrays in NumPy, HDF5 and Parquet, of which nothing is read that is larger than they can hold.

A few bytes can claim any shape, and compression makes gigabytes of zeros small. So sizes are compared with what is
stored before memory is filled; and what a file takes from other files is refused, because nobody checks those.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from elision.errors import ElisionError, plural

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_DIMENSIONS = 32
_ALLOWANCE = 1 << 26  # bytes that any array may have
_BEST_COMPRESSION = 64  # of arrays larger than that; features are padded with zeros, but not with these alone
_BEST_OF_SMALL = 2048  # deflate makes data at most 1032 times smaller
_MOST_LINKS = 32

Objects = Callable[[IO[bytes], int], np.ndarray]


def check_size(size: int, stored: int, what: str = "") -> None:
    """Refuse an array that is much larger than what is stored of it.

    Parameters
    ----------
    size, stored : int
        Bytes of the array, and in the file.
    what : str
        Such as "shape (2, 3)", for the message.

    Raises
    ------
    ElisionError
    """
    if size > _ALLOWANCE + _BEST_COMPRESSION * stored:
        raise ElisionError(
            f"{f'{what}, ' if what else ''}{plural(size, 'byte')}, but only {plural(stored, 'byte')} of it are stored; "
            "is it whole? If it is, save it again without compression"
        )


def check_text(array: np.ndarray) -> np.ndarray:
    """Return an array; one of text may not hold code points that no text has.

    Raises
    ------
    ValueError
    """
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
        codes = native.reshape(-1).view(np.uint32)
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
            raise ValueError("text with invalid code points")
    return array


# --- NumPy


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a .npy file: shape, whether the order is Fortran's, and dtype.

    Raises
    ------
    ValueError
    """
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of .npy is not read")
    shape, fortran, dtype = readers[version](file)
    if len(shape) > MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise ValueError(f"shape {shape}")
    if not dtype.itemsize and prod(shape) > 1:
        raise ValueError(f"shape {shape} of nothing")
    return shape, fortran, dtype


def _check_whole(shape: tuple[int, ...], dtype: np.dtype, rest: int) -> None:
    if prod(shape) * dtype.itemsize > rest:
        raise ValueError(f"{plural(rest, 'byte')} for an array of shape {shape} and dtype {dtype}")


def load_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read a .npy file, or map it into memory.

    Raises
    ------
    OSError, ValueError
        If it is not one, not whole, or holds Python objects ("Object arrays").
    """
    with path.open("rb") as file:
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded")
        start = file.tell()
        _check_whole(shape, dtype, os.fstat(file.fileno()).st_size - start)
    order = "F" if fortran else "C"
    if not prod(shape) * dtype.itemsize:
        return np.empty(shape, dtype, order)
    array = np.memmap(path, dtype, "r", start, shape, order)
    return check_text(array if mapped else np.array(array))


class Archive:
    """An open .npz file.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of each array, with its header.
    """

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)
        self._whole = path.stat().st_size
        infos = self._file.infolist()
        self._infos = {info.filename.removesuffix(".npy"): info for info in infos}
        self.sizes = {name: info.file_size for name, info in self._infos.items()}
        if len(self._infos) < len(infos):
            raise ValueError("arrays of the same name")
        if strange := [i.filename for i in infos if i.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]:
            raise ValueError(f"{strange[0]} is compressed in a way that numpy.savez does not use")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str, objects: Objects | None = None) -> np.ndarray:
        """Read an array.

        Parameters
        ----------
        name : str
        objects : function of (file, int) to np.ndarray, optional
            Reads an array of Python objects, of which the file and its size are given; None: it is refused.

        Raises
        ------
        KeyError
            If there is no array of this name.
        ElisionError, ValueError, zipfile.BadZipFile
            If it is too large for the file, not whole, or holds Python objects ("Object arrays").
        """
        info = self._infos[name]
        check_size(info.file_size, min(info.compress_size, self._whole), name)
        with self._file.open(info) as file:
            shape, _, dtype = read_header(file)
            if dtype.hasobject:
                if objects is None:
                    raise ValueError("Object arrays cannot be loaded")
                return objects(file, info.file_size)
            _check_whole(shape, dtype, info.file_size - file.tell())
        with self._file.open(info) as file:
            return check_text(np.lib.format.read_array(file, allow_pickle=False))


# --- HDF5


def find_hdf5(file: "h5py.File", name: str) -> "h5py.Dataset | h5py.Group":
    """Return a dataset or a group of an HDF5 file, without opening any other file.

    Raises
    ------
    KeyError
        If there is none of this name.
    ElisionError
        If it is in another file, or larger than what is stored of it can be.
    """
    import h5py

    found, rest, links = file, name.split("/")[::-1], 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if not isinstance(found, h5py.Group):
            raise KeyError(name)
        link = found.get(part, getlink=True)
        if isinstance(link, h5py.SoftLink):
            links += 1
            if links > _MOST_LINKS:
                raise ElisionError(f"{name} is a soft link that leads to no end")
            found = file if link.path.startswith("/") else found
            rest += link.path.split("/")[::-1]
        elif isinstance(link, h5py.HardLink):
            found = found[part]
        elif link is None:
            raise KeyError(name)
        else:
            linked = f"{found.name}/{part}".lstrip("/")
            raise ElisionError(
                _elsewhere(linked, "an external link", f"old.copy({linked!r}, new, expand_external=True)")
            )
    if isinstance(found, h5py.Dataset):
        copy = f"new[{name!r}] = old[{name!r}][()]"
        if found.external:
            raise ElisionError(_elsewhere(name, "a dataset with external storage", copy))
        if found.is_virtual:
            raise ElisionError(_elsewhere(name, "a virtual dataset", copy))
        _check_stored(found)
    return found


def _elsewhere(name: str, kind: str, copy: str) -> str:
    return f"{name} is {kind}, whose data are in another file; copy the data into one file, with h5py: {copy}"


def _check_stored(dataset: "h5py.Dataset") -> None:
    """Refuse an array that says that it is larger than what is stored of it can be, as a whole or in a chunk."""
    shape, stored = f"shape {dataset.shape}", dataset.id.get_storage_size()
    if (dataset.nbytes or 0) > _BEST_OF_SMALL * max(stored, 1):
        raise ElisionError(f"{shape}, but only {plural(stored, 'byte')} of it are stored; is it whole?")
    check_size(dataset.nbytes or 0, stored, shape)
    if dataset.chunks:
        # Read as a whole, whatever is used of it; and a stream that goes on beyond its chunk fills memory.
        chunk = prod(dataset.chunks) * dataset.dtype.itemsize
        check_size(chunk, stored, f"chunks of {dataset.chunks}")
        sizes: list[int] = []
        dataset.id.chunk_iter(lambda info: sizes.append(info.size))
        if max(sizes, default=0) > 2 * chunk + 1024:
            raise ElisionError(f"{shape}: a chunk takes {max(sizes)} bytes, but holds {chunk}; is it whole?")


def read_text_hdf5(dataset: "h5py.Dataset") -> list[str]:
    """Read text; many entries may share their content, and are counted as if they did not.

    Raises
    ------
    ElisionError
        If together they are larger than the file can hold.
    """
    stored = dataset.file.id.get_filesize()
    step, found, size = max(1, _ALLOWANCE // max(stored, 1)), [], 0
    for start in range(0, len(dataset), step):
        part = dataset[start : start + step].ravel().tolist()
        size += sum(map(len, part))
        check_size(size, stored, f"{dataset.name}: text")
        found += part
    return found


# --- Parquet


def read_parquet(path: Path, names: list[str]) -> "pa.Table":
    """Read columns of a Parquet file: numbers, lists of numbers, text, or dates.

    Parameters
    ----------
    path : Path
    names : list of str
        Of columns that the file has.

    Raises
    ------
    ElisionError
        If a column is of another type, or larger than what is stored of it can be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    schema, whole = file.schema_arrow, path.stat().st_size
    types = {name: schema.field(name).type for name in names}
    words = [name for name, kind in types.items() if _is_text(kind)]
    for name, kind in types.items():
        check_size(8 * file.metadata.num_rows * _fixed_lists(name, kind), whole, f"column {name}")
        _check_pages(path, file.metadata, name, in_lists=name not in words)
    # Text is read as it is stored, each once, because a dictionary makes long text that is repeated small.
    table = pq.ParquetFile(path, read_dictionary=words).read(names)
    for name in words:
        chunks = table[name].chunks
        check_size(sum(map(_text_size, chunks)), whole, f"column {name}")
        column = pa.chunked_array([_decoded(chunk) for chunk in chunks], pa.large_string())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _fixed_lists(name: str, kind: "pa.DataType") -> int:
    """Return how many entries a row has in a column of lists of a fixed length; 1 in any other."""
    import pyarrow as pa

    entries = 1
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        entries *= kind.list_size if pa.types.is_fixed_size_list(kind) else 1
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise ElisionError(f"column {name} is of type {kind}; numbers, lists of numbers and text are read")
    return entries


def _text_size(chunk: "pa.Array") -> int:
    import pyarrow.compute as pc

    if not hasattr(chunk, "dictionary"):
        return chunk.nbytes
    lengths = pc.binary_length(chunk.dictionary).cast("int64")
    return pc.sum(lengths.take(chunk.indices)).as_py() or 0


def _decoded(chunk: "pa.Array") -> "pa.Array":
    return (chunk.dictionary_decode() if hasattr(chunk, "dictionary") else chunk).cast("large_string")


def _check_pages(path: Path, metadata: "pq.FileMetaData", name: str, *, in_lists: bool) -> None:
    """Add up what the pages of a column hold: what the end of the file says of them may be a lie."""
    whole, size, stored = path.stat().st_size, 0, 0
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    columns = [group.column(k) for group in groups for k in range(group.num_columns)]
    for column in columns:
        if column.path_in_schema.split(".")[0] != name and column.path_in_schema != name:
            continue
        if column.file_path:
            raise ElisionError(f"column {name} is in another file, {column.file_path}; write it into this one")
        text, dictionary = column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"), 0
        stored += column.total_compressed_size
        if not 0 <= stored <= whole:
            raise ValueError(f"column {name} takes {stored} bytes of a file of {whole}")
        start = column.dictionary_page_offset or column.data_page_offset
        start = min(start, column.data_page_offset)
        for page in _pages(path, start, start + column.total_compressed_size):
            size += page.size
            dictionary = max(dictionary, page.size if page.is_dictionary else 0)
            size += page.values * (8 + (dictionary if text and in_lists else 0))
            if text and page.encoding == _PREFIXED:
                raise ElisionError(f"column {name}: text in the encoding DELTA_BYTE_ARRAY; write it with pandas")
            check_size(size, whole, f"column {name}")


_PREFIXED = 7  # text of which each entry continues a part of the one before: DELTA_BYTE_ARRAY
_DICTIONARY_PAGE = 2


@dataclass(frozen=True)
class _Page:
    """What the header of a page of a Parquet file says."""

    size: int
    values: int
    encoding: int
    is_dictionary: bool


def _pages(path: Path, start: int, stop: int) -> Iterator[_Page]:
    """Read the headers of the pages of a column, which are structs of Thrift's compact protocol."""
    with path.open("rb") as file:
        while start < stop:
            file.seek(start)
            header = _struct(file)
            size, stored = header[2], header[3]
            old, new, dictionary = (header.get(number, {}) for number in (5, 8, 7))
            values = old.get(1, 0) + new.get(1, 0) + dictionary.get(1, 0)
            if min(size, stored, values) < 0:
                raise ValueError("a page with fewer than no values")
            yield _Page(size, values, old.get(2, new.get(4, 0)), header[1] == _DICTIONARY_PAGE)
            start = file.tell() + stored


def _struct(file: IO[bytes], depth: int = 0) -> dict[int, Any]:
    fields: dict[int, Any] = {}
    number = 0
    while head := file.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _integer(file)
        fields[number] = _field(file, head & 15, depth)
    return fields


def _field(file: IO[bytes], kind: int, depth: int) -> Any:
    if kind in (1, 2):  # true, false
        return kind == 1
    if kind in (4, 5, 6):  # integers of 2, 4 and 8 bytes
        return _integer(file)
    if kind == 8:  # bytes
        return file.seek(_unsigned(file), os.SEEK_CUR)
    if kind in (3, 7):  # a byte, a float
        return file.read(1 if kind == 3 else 8)
    if kind == 12 and depth < 4:  # a struct
        return _struct(file, depth + 1)
    raise ValueError(f"a field of kind {kind} in the header of a page")


def _unsigned(file: IO[bytes]) -> int:
    number, shift = 0, 0
    while shift < 64:
        byte = file.read(1)[0]
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift += 7
    raise ValueError("a number without end")


def _integer(file: IO[bytes]) -> int:
    number = _unsigned(file)
    return (number >> 1) ^ -(number & 1)
