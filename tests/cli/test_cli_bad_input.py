"""Bad input to the command line as a process: exit code 2, one message that names the file, no traceback."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

PARAMS = """
datasets:
  published: {source: mmsa, file: features.pkl}
  mine: {source: clips, folder: clips}
  own: {source: arrays, table: samples.csv, audio: {file: audio.npz, values: audio}}
methods: [majority]
"""


def elision(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "ELISION_PARAMS"}
    command = [sys.executable, "-m", "elision", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _damaged_pickle(folder: Path) -> None:
    content = pickle.dumps({split: {"id": ["a"], "audio": np.ones((1, 9, 9))} for split in ("train", "valid", "test")})
    (folder / "features.pkl").write_bytes(content[:-30])


def _archive_of_a_million_million_numbers(folder: Path) -> None:
    rows = "".join(f"{k},0.5,{split}\n" for k, split in enumerate(("train", "valid", "test")))
    (folder / "samples.csv").write_text(f"id,label,split\n{rows}")
    np.savez(folder / "audio.npz", audio=np.ones((100, 10)))
    content = (folder / "audio.npz").read_bytes()
    size = b"(100, 10)"
    lie = b"(10**12,)".replace(b"10**12", b"1" + b"0" * 12)
    header = content.replace(size + b", }" + b" " * (len(lie) - len(size)), lie + b", }")
    assert header != content
    (folder / "audio.npz").write_bytes(header)


def _features_that_are_the_passwords_of_this_machine(folder: Path) -> None:
    rows = "".join(f"{k},0.5,{split}\n" for k, split in enumerate(("train", "valid", "test")))
    (folder / "samples.csv").write_text(f"id,label,split\n{rows}")
    with h5py.File(folder / "audio.npz", "w") as file:
        file.create_dataset("audio", (3, 40), "u1", external=[("/etc/passwd", 0, 120)])


def _pickle_that_shares_for_ever(folder: Path) -> None:
    item = ["a"]
    for _ in range(60):
        item = [item, item]
    (folder / "features.pkl").write_bytes(pickle.dumps({split: {"id": item} for split in ("train", "valid", "test")}))


def _pickle_that_is_nested_deeply(folder: Path) -> None:
    (folder / "features.pkl").write_bytes(b"\x80\x02)" + b"\x85" * 300_000 + b".")


def _table_in_another_encoding(folder: Path) -> None:
    (folder / "clips").mkdir()
    (folder / "clips" / "clips.csv").write_bytes("id,text,label,split\na,schön,1,train\n".encode("latin-1"))


def _key_twice(folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS + "methods: [lnln]\n")


@pytest.mark.parametrize(
    ("damage", "dataset", "message"),
    [
        (_damaged_pickle, "published", "features.pkl: not a readable pickle"),
        (_archive_of_a_million_million_numbers, "own", "audio.npz: cannot be read"),
        (_features_that_are_the_passwords_of_this_machine, "own", "audio is a dataset with external storage, whose"),
        (_pickle_that_shares_for_ever, "published", "it is far larger than the file"),
        (_pickle_that_is_nested_deeply, "published", "nested more than 100 deep"),
        (_table_in_another_encoding, "mine", "clips/clips.csv is not UTF-8 (byte 25); save it as UTF-8"),
        (_key_twice, "mine", "params.yaml: line 7: duplicate key 'methods' (first defined on line 6)"),
    ],
)
def test_bad_input_ends_with_2_and_a_message(tmp_path, damage, dataset, message):
    (tmp_path / "params.yaml").write_text(PARAMS)
    damage(tmp_path)
    done = elision(tmp_path, "prepare", "--dataset", dataset)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert any(line.startswith("elision: ") for line in done.stderr.splitlines())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.parquet")) and not list(tmp_path.rglob("*.safetensors"))
