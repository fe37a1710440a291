"""Files are replaced whole, locks fall when their process dies, a damaged cache only costs time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmt_lib import io
from clmt_lib.io import DataError

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mode, old, new", [("w", "old", "neü\n"), ("wb", b"old", b"\x00\n")])
def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, mode, old, new):
    path = tmp_path / "file"
    with io.atomic_write(path, mode) as file:
        file.write(old)
    with io.atomic_write(path, mode) as file:
        file.write(new)
        file.flush()
        assert path.read_bytes() == (old if mode == "wb" else old.encode())
    assert path.read_bytes() == (new if mode == "wb" else new.encode())
    assert names(tmp_path) == ["file"]


def _half_written(file, error):
    file.write("new")
    raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), io.atomic_write(path) as file:
        _half_written(file, error)
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_file_that_cannot_take_its_place_leaves_nothing(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"), io.atomic_write(tmp_path / "taken") as file:
        file.write("new")
    assert names(tmp_path) == ["taken"]
    with pytest.raises(FileNotFoundError), io.atomic_write(tmp_path / "absent" / "file") as file:
        file.write("new")


def test_others_may_read_what_was_written(tmp_path):
    before = os.umask(0o022)
    try:
        with io.atomic_write(tmp_path / "file") as file:
            file.write("x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def _write_often(path, letter, count):
    for _ in range(count):
        with io.atomic_write(path) as file:
            file.write(letter * 10_000)


def test_a_reader_beside_four_writers_never_sees_a_mixture(tmp_path):
    path = tmp_path / "file"
    path.write_text("o" * 10_000)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(path, c, 20)) for c in "abcd"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text()
        assert len(text) == 10_000 and len(set(text)) == 1
        seen.add(text[0])
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(seen) > 1 and names(tmp_path) == ["file"]


HOLD = """
import sys, time
from clmt_lib.io import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_waited_for_named_and_let_go_by_a_killed_process(tmp_path):
    path = tmp_path / "table.jsonl"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(DataError, match="table.jsonl: another process.*run the same command"),
            io.lock(path, timeout=0.2),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with io.lock(path, timeout=5):
        assert not path.exists() and names(tmp_path) == [".table.jsonl.lock"]
    assert names(tmp_path) == []


def _add_one(path, count):
    for _ in range(count):
        with io.lock(path):
            number = int(path.read_text())
            time.sleep(0.001)
            with io.atomic_write(path) as file:
                file.write(str(number + 1))


def test_no_count_is_lost_between_processes(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_one, args=(path, 8)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert path.read_text() == "32" and names(tmp_path) == ["count"]


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_a_cache_file_is_named_by_its_parts(one, other):
    separator = "\x1f"
    same = separator.join(one) == separator.join(other)
    assert (io.cache_file("k", one) == io.cache_file("k", other)) == same
    assert io.cache_file("k", one) != io.cache_file("l", one)


@pytest.mark.parametrize("kept", [np.arange(6.0).reshape(2, 3), {"a": np.ones(2), "b": np.eye(2)}])
def test_what_is_cached_comes_back_or_does_not(tmp_path, kept):
    suffix = "npz" if isinstance(kept, dict) else "npy"
    path = tmp_path / "deep" / f"kept.{suffix}"
    assert io.read_cached(path) is None
    io.write_cached(path, kept)
    back = io.read_cached(path)
    if suffix == "npz":
        assert back.keys() == kept.keys() and all((back[k] == kept[k]).all() for k in kept)
    else:
        assert (back == kept).all()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert io.read_cached(path) is None
    path.write_bytes(b"")
    assert io.read_cached(path) is None


def test_a_cache_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "file").write_text("in the way")
    io.write_cached(tmp_path / "file" / "kept.npy", np.ones(3))
    io.write_cached(None, np.ones(3))
    assert io.read_cached(None) is None and names(tmp_path) == ["file"]


def test_a_message_is_one_line_whatever_it_quotes():
    error = DataError("a list of\n  two lines", file="a.csv", row=3, remedy="one\nword")
    assert str(error) == "a.csv, row 3: a list of two lines. Remedy: one word"
