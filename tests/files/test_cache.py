"""The cache: what is kept comes back as it was, and what is damaged, or cannot be kept, is made anew."""

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.errors import MissingInputError
from zoo.files import cache


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    cache._say_unusable.cache_clear()
    return tmp_path / "cache"


ITEMS = [
    {"mel": np.arange(4 * i, dtype=np.float32).reshape(i, 4), "ids": np.arange(i, dtype=np.uint8), "name": f"ü{i}"}
    for i in range(5)
]


def made(count: list[int] | None = None, items: list[dict[str, Any]] = ITEMS) -> cache.Table:
    def batches(facts: dict[str, Any]) -> Iterator[Any]:
        if count is not None:
            count.append(1)
        yield cache.rows(items[:3])
        yield cache.rows(items[3:])
        facts["seen"] = len(items)

    return cache.table("encoded", "x", batches)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and getattr(one[name], "dtype", 0) == getattr(other[name], "dtype", 0)
        for name in one
    )


@pytest.mark.parametrize("dimensions", range(5))
def test_items_of_any_number_of_dimensions_come_back_as_they_were(dimensions: int):
    sizes = [[(i * 7 + d) % 4 for d in range(dimensions)] for i in range(5)]
    items = [{"x": np.asarray(np.random.default_rng(i).normal(size=size), np.float16)} for i, size in enumerate(sizes)]
    table = made(items=items)
    assert all(same(item, table[i]) for i, item in enumerate(items))


def test_rows_and_facts_are_written_once():
    count: list[int] = []
    assert all(same(item, made(count)[i]) for i, item in enumerate(ITEMS))
    assert made(count).facts == {"seen": 5}
    assert len(made(count)) == 5
    assert len(count) == 1


def test_workers_map_the_file_themselves():
    table = pickle.dumps(made())
    assert len(table) < 500
    assert same(pickle.loads(table)[4], ITEMS[4])


def damaged(content: bytes) -> dict[str, bytes]:
    places = range(0, len(content), max(1, len(content) // 60))
    flips = {f"bit {8 * at}": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in places}
    cuts = {f"cut at {at}": content[:at] for at in places}
    return {"empty": b"", "longer": content + b"x", "other": b"no table", **flips, **cuts}


def test_a_damaged_file_is_made_anew_and_the_line_says_so(folder: Path, capsys: pytest.CaptureFixture[str]):
    made()
    (path,) = folder.rglob("*.arrow")
    for how, content in damaged(path.read_bytes()).items():
        path.write_bytes(content)
        count: list[int] = []
        table = made(count)
        assert (how, len(count)) == (how, 1)
        assert all(same(item, table[i]) for i, item in enumerate(ITEMS))
        assert f"{path} in the cache is damaged, so it is made anew." in capsys.readouterr().out


def in_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")


def full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("spoil", [in_the_way, full])
def test_without_a_usable_cache_a_table_stays_in_memory_which_is_said_once(
    spoil: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spoil(folder, monkeypatch)
    table = pickle.loads(pickle.dumps(made()))
    assert all(same(item, table[i]) for i, item in enumerate(ITEMS))
    assert table.facts == {"seen": 5}
    made()
    cache.note("names", "x", [1])
    assert cache.recall("names", "x") is None
    assert capsys.readouterr().out.count("cannot be written") == 1
    assert not [path for path in folder.rglob("*") if path.is_file()] or folder.is_file()


def test_an_error_of_what_is_read_is_not_taken_for_one_of_the_cache(capsys: pytest.CaptureFixture[str]):
    def batches(facts: dict[str, Any]) -> Iterator[Any]:
        yield cache.rows(ITEMS)
        raise FileNotFoundError(errno.ENOENT, "No such file", "/data/a.flac")

    with pytest.raises(FileNotFoundError, match="a.flac"):
        cache.table("encoded", "x", batches)
    assert capsys.readouterr().out == ""


def test_a_missing_input_is_not_taken_for_a_cache_that_cannot_be_written(capsys: pytest.CaptureFixture[str]):
    """It is an OSError, and names no file as those of the system do."""

    def batches(facts: dict[str, Any]) -> Iterator[Any]:
        yield cache.rows(ITEMS)
        raise MissingInputError("a.flac: no such file.")

    with pytest.raises(MissingInputError, match=r"a\.flac: no such file"):
        cache.table("encoded", "x", batches)
    assert capsys.readouterr().out == ""


def test_what_a_killed_process_left_is_removed(folder: Path):
    code = (
        "import os, signal, sys; from zoo.files import cache\n"
        "def batches(facts):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cache.table('encoded', 'x', batches)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(folder.rglob("*.tmp"))) == 1
    made()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["x.arrow"]


def test_a_note_that_is_damaged_is_none(folder: Path):
    cache.note("names", "x", {"ü": [1, 2]})
    assert cache.recall("names", "x") == {"ü": [1, 2]}
    (path,) = folder.rglob("*.json")
    for content in damaged(path.read_bytes()).values():
        path.write_bytes(content)
        assert cache.recall("names", "x") is None
