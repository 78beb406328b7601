"""Whatever is in the files of a dataset: it is prepared as the reader promises, or refused and nothing is left."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from source_examples import gcnet, magbert, mer2024, merbench, mmin, mmsa, mult

from elision.datasets._prepare import prepare
from elision.errors import ElisionError
from elision.settings.params import Params, user_files
from elision.store import Store
from elision.task import SPLITS

PARTS = 50  # files are cut at every 1/50th of their length
random = np.random.default_rng(11)


# --- a small dataset of each kind, and the file of it that is damaged


def frames(*shape):
    return random.normal(3, 2, shape).astype(np.float32)


def _mmsa(folder: Path, protocol: int = 4) -> tuple[dict, Path]:
    return mmsa.make(folder, protocol), folder / "features.pkl"


def _mmsa_of_python_2(folder: Path) -> tuple[dict, Path]:
    return _mmsa(folder, protocol=2)


def _gcnet(folder: Path) -> tuple[dict, Path]:
    return gcnet.make(folder), folder / "labels.pkl"


def _gcnet_vector(folder: Path) -> tuple[dict, Path]:
    entry, _ = _gcnet(folder)
    return entry, folder / "features" / "voices-UTT" / "video1_2.npy"


def _mer2024(folder: Path) -> tuple[dict, Path]:
    return mer2024.make(folder), folder / "label-6way.npz"


def _mmin(folder: Path) -> tuple[dict, Path]:
    return mmin.make(folder), folder / "A" / "comparE-own.h5"


def _mmin_labels(folder: Path) -> tuple[dict, Path]:
    entry, _ = _mmin(folder)
    return entry, folder / "target" / "2" / "trn_label.npy"


def _mmin_names(folder: Path) -> tuple[dict, Path]:
    entry, _ = _mmin(folder)
    return entry, folder / "target" / "1" / "val_int2name.npy"


def _mult(folder: Path) -> tuple[dict, Path]:
    return mult.make(folder), folder / "mosei_senti_data_noalign.pkl"


def _magbert(folder: Path) -> tuple[dict, Path]:
    return magbert.make(folder), folder / "dev.pkl"


def _merbench(folder: Path) -> tuple[dict, Path]:
    return merbench.make(folder), folder / "label_4way.npz"


IDS = [f"clip {k}" for k in range(6)]


def _arrays(folder: Path, table: str, name: str, **array: str) -> tuple[dict, Path]:
    content = {"id": IDS, "label": [1.0, -2.5, 0.0, 3.0, 0.5, 1.5], "split": [*SPLITS, *SPLITS]}
    content |= {"text": "some words", "speaker": [*"aabbcc"], "duration": 1.5}
    samples = pd.DataFrame(content)
    samples.to_parquet(folder / table) if table.endswith("parquet") else samples.to_csv(folder / table, index=False)
    file, values, lengths = folder / name, frames(6, 3, 4), np.array([3, 1, 2, 3, 3, 2])
    if name.endswith(".npz"):
        np.savez_compressed(file, audio=values, ids=np.array(IDS), lengths=lengths)
    elif name.endswith(".npy"):
        np.save(file, values)
    elif name.endswith(".h5"):
        with h5py.File(file, "w") as opened:
            opened.create_dataset("audio", data=values, compression="gzip")
            opened["ids"], opened["lengths"] = np.array(IDS, dtype="S"), lengths
    else:
        pd.DataFrame({"ids": IDS, "audio": [list(map(list, value)) for value in values]}).to_parquet(file)
    entry = {"source": "arrays", "table": str(folder / table), "audio": {"file": str(file), **array}}
    return entry, file


def _npz(folder: Path) -> tuple[dict, Path]:
    return _arrays(folder, "table.csv", "audio.npz", values="audio", ids="ids", lengths="lengths")


def _npy(folder: Path) -> tuple[dict, Path]:
    return _arrays(folder, "table.csv", "audio.npy")


def _h5(folder: Path) -> tuple[dict, Path]:
    return _arrays(folder, "table.csv", "audio.h5", values="audio", ids="ids", lengths="lengths")


def _parquet(folder: Path) -> tuple[dict, Path]:
    return _arrays(folder, "table.csv", "audio.parquet", values="audio", ids="ids")


def _other(folder: Path, name: str, save: Callable[[Path, dict], None], **array: str) -> tuple[dict, Path]:
    """Arrays in a form of others: a list of sequences, and one of ids."""
    entry, _ = _arrays(folder, "table.csv", "audio.npy")
    (folder / "audio.npy").unlink()
    cells = {"audio": np.empty(6, object), "ids": np.empty(6, object)}
    for row, name_of in enumerate(IDS):
        cells["audio"][row], cells["ids"][row] = frames(row + 1, 4), name_of
    save(folder / name, cells)
    return entry | {"audio": {"file": str(folder / name), **array}}, folder / name


def _mat(folder: Path) -> tuple[dict, Path]:
    return _other(folder, "audio.mat", scipy.io.savemat, values="audio", ids="ids")


def _mat_compressed(folder: Path) -> tuple[dict, Path]:
    save = partial(scipy.io.savemat, do_compression=True)
    return _other(folder, "audio.mat", save, values="audio", ids="ids")


def _ragged_npz(folder: Path) -> tuple[dict, Path]:
    return _other(folder, "audio.npz", lambda path, cells: np.savez(path, **cells), values="audio", ids="ids")


def _pickled(folder: Path) -> tuple[dict, Path]:
    save = lambda path, cells: path.write_bytes(pickle.dumps(cells))  # noqa: E731
    return _other(folder, "audio.pkl", save, values="audio", ids="ids")


def _pt(folder: Path) -> tuple[dict, Path]:
    def save(path: Path, cells: dict) -> None:
        torch.save({"audio": [torch.from_numpy(s) for s in cells["audio"]], "ids": cells["ids"].tolist()}, path)

    return _other(folder, "audio.pt", save, values="audio", ids="ids")


def _csd(folder: Path) -> tuple[dict, Path]:
    def save(path: Path, cells: dict) -> None:
        with h5py.File(path, "w") as file:
            for name, sequence in zip(cells["ids"], cells["audio"], strict=True):
                file[f"COVAREP/data/{name}/features"] = sequence
                file[f"COVAREP/data/{name}/intervals"] = np.ones((len(sequence), 2))

    return _other(folder, "audio.csd", save)


def _openface(folder: Path) -> tuple[dict, Path]:
    def save(path: Path, cells: dict) -> None:
        rows = [f"{k}, 0, {k / 25}, 0.9, {k % 2}, {k / 7}, {name}" for k, name in enumerate(cells["ids"])]
        path.write_text("frame, face_id, timestamp, confidence, success, AU01_r, name\n" + "\n".join(rows))

    return _other(folder, "audio.csv", save, ids="name")


def _csv_table(folder: Path) -> tuple[dict, Path]:
    entry, _ = _arrays(folder, "table.csv", "audio.npy")
    return entry, folder / "table.csv"


def _parquet_table(folder: Path) -> tuple[dict, Path]:
    entry, _ = _arrays(folder, "table.parquet", "audio.npy")
    return entry, folder / "table.parquet"


def _clips(folder: Path) -> tuple[dict, Path]:
    rows = ["id,text,label,split,speaker"]
    rows += [f'clip {k},"words, {k}",{k - 2},{split},someone' for k, split in enumerate([*SPLITS, *SPLITS])]
    file = folder / "clips.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"source": "clips", "folder": str(folder)}, file


KINDS = {
    builder.__name__.strip("_"): builder
    for builder in (
        _mmsa, _mmsa_of_python_2, _gcnet, _gcnet_vector, _mer2024, _mmin, _mmin_labels, _mmin_names,
        _npz, _npy, _h5, _parquet, _mult, _magbert, _merbench, _mat, _mat_compressed, _ragged_npz, _pickled, _pt, _csd,
        _openface, _csv_table, _parquet_table, _clips,
    )
}  # fmt: skip


# --- what must hold


@dataclass
class Dataset:
    """A dataset that was prepared once, whole; ``file`` is damaged and prepared again."""

    params: Params
    file: Path
    results: Path

    @property
    def whole(self) -> bytes:
        return self._whole

    def __post_init__(self) -> None:
        self._whole = self.file.read_bytes()
        self.prepare()
        self.before = self.content()

    def prepare(self) -> None:
        assert user_files(self.params, "mine")
        places = {"clips": self.results / "clips.parquet", "media": self.results / "media", "store": self.results}
        prepare(self.params, "mine", **places, provenance={"step": "prepare"})

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.results.iterdir()}

    def prepared_or_refused(self, content: bytes) -> str | None:
        """Prepare with other content of the file; returns the message, if it is refused."""
        self.file.write_bytes(content)
        try:
            self.prepare()
        except ElisionError as error:
            assert self.content() == self.before, "what was whole is whole"
            message = str(error)
            assert str(self.file.parent) in message or self.file.parent.name in message
            assert len(message) < 20_000
            return message
        finally:
            self.file.write_bytes(self._whole)
        if self.params.datasets["mine"].source != "clips":
            self.check()
        self.restore()
        return None

    def restore(self) -> None:
        for name, content in self.before.items():
            (self.results / name).write_bytes(content)

    def check(self) -> None:
        store = Store.open(self.results)
        samples = store.samples
        assert samples["id"].is_unique
        if store.classes:
            assert set(samples["label"].dropna()) <= set(store.classes)
        else:
            assert samples["label"].abs().le(3 + 1e-6).all()
        for sequences in store.modalities.values():
            values = np.asarray(sequences.values)
            lost = np.isnan(values) if values.ndim == 2 else np.zeros((1, 1), bool)
            assert (lost.all(1) == lost.any(1)).all()
            assert np.isfinite(values[~lost.all(1)]).all() if values.ndim == 2 else (values >= 0).all()


@pytest.fixture(scope="module", params=KINDS)
def dataset(request, tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp(request.param)
    entry, file = KINDS[request.param](folder)
    return Dataset(Params(datasets={"mine": entry}, methods=["majority"]), file, folder / "results")


def test_a_file_that_is_cut_short_is_refused(dataset):
    length = len(dataset.whole)
    read = [k for k in range(PARTS) if dataset.prepared_or_refused(dataset.whole[: length * k // PARTS]) is None]
    # Rows of a table that are whole make a table.
    assert read == [] or dataset.file.suffix == ".csv"


@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
@settings(max_examples=40, derandomize=True)
def test_flipped_bytes_are_read_or_refused(dataset, flips):
    content = bytearray(dataset.whole)
    for place, flip in flips:
        content[int(place * len(content))] ^= flip
    dataset.prepared_or_refused(bytes(content))


@given(content=st.binary(max_size=200), keep=st.integers(0, 40))
@settings(max_examples=15, derandomize=True)
def test_other_bytes_are_refused(dataset, content, keep):
    dataset.prepared_or_refused(dataset.whole[:keep] + content)


# --- sizes that no file has


def _claims(shape: tuple[int, ...]) -> bytes:
    """A .npy file that says that it holds more than any memory."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(400)


@pytest.mark.parametrize("kind", ["gcnet_vector", "mmin_labels", "mmin_names", "npy"])
@pytest.mark.parametrize("shape", [(10**12,), (10**9,), (6, 10**9, 4), (10**6, 10**6, 10**6)])
def test_an_array_that_says_it_is_too_large_is_refused(tmp_path, kind, shape):
    entry, file = KINDS[kind](tmp_path)
    dataset = Dataset(Params(datasets={"mine": entry}, methods=["majority"]), file, tmp_path / "results")
    assert "cannot be read" in dataset.prepared_or_refused(_claims(shape))


@pytest.mark.parametrize(("kind", "name"), [("mmin", "Ses01F_impro01_F000"), ("h5", "audio")])
def test_an_array_of_hdf5_of_which_nothing_is_stored_is_refused(tmp_path, kind, name):
    entry, file = KINDS[kind](tmp_path)
    dataset = Dataset(Params(datasets={"mine": entry}, methods=["majority"]), file, tmp_path / "results")
    copy = tmp_path / "copy.h5"
    copy.write_bytes(dataset.whole)
    with h5py.File(copy, "r+") as opened:
        del opened[name]
        opened.create_dataset(name, (10**6, 10**6), "f4", chunks=(1, 1000))
    assert "but only 0 bytes of it are stored" in dataset.prepared_or_refused(copy.read_bytes())


# --- clips.csv

PATHS = ["", " ", ".", "..", "a/b", "../../etc/passwd", "/etc/hostname", "/dev/zero", "nothing.mp4", "é😀 名", "a\0b"]
NUMBERS = ["nan", "inf", "1e400", "-3.5", "1,5", "0x1", "positive"]
NAMES = ["test", "Train", "clip 1", "x" * 300, "y" * 200_000]
cells = st.one_of(st.sampled_from(PATHS + NUMBERS + NAMES), st.text(max_size=6), st.floats().map(str))
COLUMNS = ["id", "text", "label", "split", "speaker", "path", "transcript", "words", "label_audio", "", "ID", "mood"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("clips")
    entry, file = _clips(folder)
    (folder / "said.txt").write_text("words")
    return Dataset(Params(datasets={"mine": entry}, methods=["majority"]), file, folder / "results")


@given(
    columns=st.lists(st.sampled_from(COLUMNS), max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), cells), max_size=3),
    separator=st.sampled_from([",", ";", "\t"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
    quote=st.booleans(),
    damage=st.sampled_from(["", '"', '"\n', "\0", "a,b\n", "\x1a", ",,,,,,,,,,,,\n"]),
)
@settings(max_examples=150, derandomize=True)
def test_a_table_of_clips_is_read_or_refused(clips, columns, changes, separator, newline, encoding, quote, damage):
    rows = [["id", "text", "label", "split", *columns]]
    rows += [[f"clip {k}", "words", str(k - 2), split, *[""] * len(columns)] for k, split in enumerate([*SPLITS] * 2)]
    for row, column, cell in changes:
        rows[row % len(rows)][column % len(rows[0])] = cell
    written = [[f'"{cell}"' if quote else cell for cell in row] for row in rows]
    text = newline.join(separator.join(row) for row in written) + newline + damage
    clips.prepared_or_refused(text.encode(encoding, errors="replace"))
