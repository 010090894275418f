"""Files that are whole or not there, and pointers: links, or small text files that name another path."""

import difflib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from zoo.files import processes

_LONGEST = 256
_HOUR = 3600
_being_written: set[Path] = set()


def cache_folder() -> Path:
    """Where encoded data is kept between runs: ZOO_CACHE, else ~/.cache/zoo (as XDG has it)."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"
    return Path(os.environ.get("ZOO_CACHE") or default)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a binary file beside `path`, make it durable, and put it in the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as beside:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    _sync_folder(path.parent)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """As `write_whole`, for a folder: `write` fills one beside `path`, which comes in its place when all is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as beside, _beside(path, "before") as before:
        beside.mkdir()
        write(beside)
        for part in [beside, *beside.rglob("*")]:
            if part.is_dir():
                _sync_folder(part)
            else:
                with open(part, "rb") as file:
                    os.fsync(file.fileno())
        if path.exists():
            path.rename(before)
        beside.rename(path)
    _sync_folder(path.parent)


def remove_folder(path: Path, by_way_of: Path) -> None:
    """Delete a folder, which is gone at once for whoever looks.

    Args:
        by_way_of: a name beside which it lies while it is deleted; a kill leaves it to `sweep`.
    """
    with _beside(by_way_of) as beside:
        path.rename(beside)
        shutil.rmtree(beside)


def _sync_folder(path: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # where a directory can be opened, its new entry can be made durable too
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _beside(path: Path, *words: str) -> Iterator[Path]:
    """A name for what is being written, which says who writes it. What is left there afterwards is removed."""
    beside = path.with_name(".".join(["", path.name, *words, processes.here(), str(os.getpid()), "tmp"]))
    _being_written.add(beside)
    try:
        yield beside
    except OSError as error:
        if error.errno and not error.filename:  # a full disk names none
            error.filename = str(path)
        raise
    finally:
        _being_written.discard(beside)
        _remove(beside)


def sweep(folder: Path) -> None:
    """Remove what was being written in the folder when its process was killed.

    Whether a process of this machine is alive can be looked up. What another machine or container writes here is kept
    as long as it grows, and an hour beyond.
    """
    for beside in folder.glob(".*.*.tmp"):
        *_, home, number, _ = beside.name.split(".")
        if home == processes.here() and number.isdecimal():
            mine = int(number) == os.getpid()
            left = beside not in _being_written if mine else not processes.is_alive(int(number))
        else:
            left = _is_old(beside)
        if left:
            _remove(beside)


def _is_old(path: Path) -> bool:
    """By the clock of its own file system, which may not be that of this machine."""
    try:
        newest = max(part.stat().st_mtime for part in [path, *path.rglob("*")])
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            return os.fstat(probe.fileno()).st_mtime - newest > _HOUR
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def point(pointer: Path, target: Path) -> None:
    """Make `pointer` lead to `target`, by the way from its own folder, so that both can be moved together.

    To a folder it is a symbolic link, which every program follows, where the system has them. It changes in one piece.
    """
    way = Path(os.path.relpath(target, pointer.parent)).as_posix()
    if not (target.is_dir() and _link(pointer, way)):
        write_text(pointer, f"{way}\n")


def _link(pointer: Path, way: str) -> bool:
    """Whether there could be a link. Windows wants a right for it, and some disks have none."""
    with suppress(OSError), _beside(pointer) as beside:
        os.symlink(way, beside, target_is_directory=True)
        os.replace(beside, pointer)
        _sync_folder(pointer.parent)
        return True
    return False


def expanded(path: str | Path) -> Path:
    """With ~ replaced, where there is such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def exists(path: Path) -> bool:
    """Whether there is something; not, where the name is one that no file can have (too long, a zero byte)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def follow(path: str | Path) -> Path:
    """The path with every pointer on the way replaced by what it names: runs/latest/model is runs/gpt2/3/model."""
    here = expanded(path)
    whole = Path(*here.parts[:1])
    for part in here.parts[1:]:
        whole = _target(whole) / part
    return _target(whole)


def _target(path: Path) -> Path:
    if path.suffix or path.name not in ("latest", "last", "best"):
        return path
    if path.is_symlink():
        return Path(os.path.normpath(path.parent / os.readlink(path)))
    if not exists(path) or not path.is_file():
        return path
    with open(path, "rb") as file:
        name = file.read(_LONGEST).decode("utf-8", errors="replace").replace("\0", "").strip()
    return Path(os.path.normpath(path.parent / name))


def nearest_file(path: Path) -> str:
    """ "; did you mean …" where the folder has a file of a similar name."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.parent / near[0]}" if near else ""


def printable(name: object) -> str:
    """A name on one line, in characters that every terminal and YAML comment takes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))


def shell(word: object) -> str:
    """A word as bash and zsh take it, on one line; a path never looks like an option."""
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(f"\\{c}" if c in "\\'" else c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return f"$'{escaped}'"
