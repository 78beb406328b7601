"""What ``torch.save`` writes, compared with ``torch.load(weights_only=True)``; and files made to do harm."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from elision.errors import ElisionError
from elision.readers import Entries, opened

generator = torch.Generator().manual_seed(11)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
DTYPES += (torch.int8, torch.uint8, torch.bool)


def find(path, name=""):
    with opened(path) as file:
        return file.find(name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_type_are_read(tmp_path, dtype):
    torch.save({"x": (torch.randn(3, 4, generator=generator) * 5).to(dtype)}, tmp_path / "a.pt")
    expected = torch.load(tmp_path / "a.pt", weights_only=True)["x"]
    found = find(tmp_path / "a.pt", "x")
    assert found.shape == (3, 4) and np.array_equal(found, expected.to(torch.float64).numpy())


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[1:],
        lambda x: x[:, ::2],
        lambda x: x[2],
        lambda x: x[1, 1],
        lambda x: x[:0],
        lambda x: x.reshape(2, 3, 2),
        lambda x: x[:1].expand(5, 4),
        lambda x: torch.nn.Parameter(x),
    ],
)
def test_views_are_what_they_show(tmp_path, view):
    torch.save(view(torch.randn(3, 4, generator=generator)), tmp_path / "a.pt")
    expected = torch.load(tmp_path / "a.pt", weights_only=True).detach().numpy()
    found = find(tmp_path / "a.pt")
    assert found.shape == expected.shape and np.array_equal(found, expected)


def test_dicts_and_lists_are_found_by_path(tmp_path):
    parts = [torch.randn(n, 3, generator=generator) for n in (2, 1, 4)]
    content = collections.OrderedDict(train={"audio": parts, "ids": ["a", "b", "c"]}, n=torch.tensor([2, 1, 4]))
    torch.save(content, tmp_path / "a.pt")
    found = find(tmp_path / "a.pt", "train/audio")
    assert isinstance(found, Entries) and [part.tolist() for part in found] == [part.tolist() for part in parts]
    assert find(tmp_path / "a.pt", "train/ids").tolist() == ["a", "b", "c"]
    assert find(tmp_path / "a.pt", "n").tolist() == [2, 1, 4]


def test_tensors_may_share_their_numbers(tmp_path):
    whole = torch.arange(12.0)
    torch.save({"a": whole[:4], "b": whole[4:]}, tmp_path / "a.pt")
    assert find(tmp_path / "a.pt", "b").tolist() == list(range(4, 12))


def test_what_pytorch_1_5_wrote_is_named_with_the_conversion(tmp_path):
    torch.save({"x": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ElisionError, match=r"is a file of PyTorch before 1\.6, which is not read; convert"):
        find(tmp_path / "a.pt", "x")


def test_a_model_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(ElisionError, match=r"wants to use torch\.nn\.modules\.linear\.Linear"):
        find(tmp_path / "a.pt")


# --- files that do harm


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def changed(path, change=lambda content: content, **members):
    """Write an archive again with another pickle, and other members."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in content.items():
            short = name.split("/", 1)[1]
            archive.writestr(name, change(part) if short == "data.pkl" else members.get(short, part))


def test_nothing_is_called(tmp_path):
    torch.save({"x": Calls(os.system, f"touch {tmp_path}/marker")}, tmp_path / "a.pt")
    with pytest.raises(ElisionError, match=r"wants to use posix\.system"):
        find(tmp_path / "a.pt", "x")
    assert not (tmp_path / "marker").exists()


def _shared(depth=60):
    item = ("a",)
    for _ in range(depth):
        item = (item, item)
    return item


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(_shared(), 2),
        b"\x80\x02}" + pickle.dumps(_shared(), 2)[2:-1] + b"K\x01s.",
        b"\x80\x02)" + b"\x85" * 300_000 + b".",
    ],
    ids=["shared", "a key of shared tuples", "nested"],
)
def test_a_pickle_that_is_made_to_hang_is_refused(tmp_path, content):
    torch.save({"x": torch.ones(3)}, tmp_path / "a.pt")
    changed(tmp_path / "a.pt", lambda _: content)
    with pytest.raises(
        (ElisionError, ValueError), match=r"larger than the file|nested more than|text, numbers and None"
    ):
        find(tmp_path / "a.pt", "x")


def test_a_tensor_larger_than_what_is_stored_of_it_is_refused(tmp_path):
    torch.save(torch.ones(1).expand(40_000, 40_000), tmp_path / "a.pt")
    with pytest.raises(ElisionError, match="only 4 bytes of it are stored"):
        find(tmp_path / "a.pt")


def test_a_storage_that_claims_more_than_the_archive_holds_is_refused(tmp_path):
    torch.save({"x": torch.ones(1000)}, tmp_path / "a.pt")
    changed(tmp_path / "a.pt", **{"data/0": bytes(40)})
    with pytest.raises(ElisionError, match="holds 40 bytes for 1000 numbers of float32"):
        find(tmp_path / "a.pt", "x")


def test_a_view_beyond_its_storage_is_refused(tmp_path):
    torch.save({"x": torch.ones(5)}, tmp_path / "a.pt")
    changed(tmp_path / "a.pt", lambda content: content.replace(b"K\x05\x85", b"K\x06\x85"))
    with pytest.raises((ElisionError, ValueError), match="a tensor larger than its numbers"):
        find(tmp_path / "a.pt", "x")


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"x": torch.zeros(1000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    with pytest.raises(ElisionError, match="is compressed, as PyTorch never does"):
        find(tmp_path / "a.pt", "x")
