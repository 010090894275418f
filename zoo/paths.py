"""Files that are whole or not there, and pointers: small text files that name another path, on every system."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

_LONGEST = 256


def cache_folder() -> Path:
    """Where encoded data is kept between runs: ZOO_CACHE, else ~/.cache/zoo (as XDG has it)."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"
    return Path(os.environ.get("ZOO_CACHE") or default)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a binary file beside `path`, make it durable, and put it in the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where a directory can be opened, its new entry can be made durable too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep(folder: Path) -> None:
    """Remove what `write_whole` left in the folder when its process was killed."""
    for beside in folder.glob(".*.tmp"):
        owner = beside.suffixes[-2].removeprefix(".") if len(beside.suffixes) > 1 else ""
        if owner.isdigit() and (int(owner) == os.getpid() or not is_alive(int(owner))):
            beside.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs here. True where it cannot be known (Windows would end it)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def point(pointer: Path, target: Path) -> None:
    """Make `pointer` lead to `target`, by the way from its own folder, so that both can be moved together."""
    write_text(pointer, Path(os.path.relpath(target, pointer.parent)).as_posix() + "\n")


def follow(path: str | Path) -> Path:
    """The path with every pointer on the way replaced by what it names: runs/latest/model is runs/gpt2/3/model."""
    here = Path(path).expanduser()
    whole = Path(*here.parts[:1])
    for part in here.parts[1:]:
        whole = _target(whole) / part
    return _target(whole)


def _target(path: Path) -> Path:
    if path.suffix or path.name not in ("latest", "last", "best") or not path.is_file():
        return path
    name = path.read_text("utf-8")[:_LONGEST].strip()
    return Path(os.path.normpath(path.parent / name))


def nearest_file(path: Path) -> str:
    """ "; did you mean …" where the folder has a file of a similar name."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.parent / near[0]}" if near else ""
