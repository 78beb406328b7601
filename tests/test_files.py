import os
import subprocess
import sys
from pathlib import Path

import pytest

from elision.files import is_file, replacing


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing(path) as temporary:
        temporary.write_text("new")
        raise ValueError("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    path, synced = tmp_path / "new" / "file", []

    def fsync(handle, really=os.fsync):
        synced.append(
            (str(Path(f"/proc/self/fd/{getattr(handle, 'fileno', lambda: handle)()}").readlink()), path.exists())
        )
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert synced == [(str(temporary), False), (str(path.parent), True)]


KILLED = """
import os, signal, sys
from elision.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_writer_left_is_deleted_by_the_next_one_and_that_of_a_living_one_is_not(tmp_path):
    path = tmp_path / "file [1].json"
    command = [sys.executable, "-c", KILLED, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    left, living = [writer.stdout.readline().strip() for writer in writers]
    writers[0].kill()
    writers[0].wait()
    assert {str(found) for found in tmp_path.iterdir()} == {left, living}
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert {str(found) for found in tmp_path.iterdir()} == {living, str(path)}
    writers[1].communicate("\n")
    assert [found.read_text() for found in tmp_path.iterdir()] == ["half"]


def test_a_name_that_is_too_long_is_no_file(tmp_path):
    assert is_file(Path(__file__))
    assert not is_file(tmp_path) and not is_file(tmp_path / "none")
    assert not is_file(tmp_path / ("x" * 300)) and not is_file(tmp_path / "a\0b")
