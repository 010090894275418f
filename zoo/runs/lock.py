"""One process at a time in a run directory.

A lock is a folder .lock.N that says who owns it; the one with the largest N counts. Folders appear by renaming, which
every file system does in one piece and refuses where the name is taken, so that nothing else (flock, links) is needed.
A lock is void when its process is gone, after a reboot, and in a copy of the directory. Where the process cannot be
looked up (another machine on the same disk), the lock is void when its owner has not touched it for five minutes.

filelock was tried in its place. It is free at once after a kill, with data workers alive too, and would be shorter; but
it needs a disk that can flock, which network disks often cannot, and does not say whose it is.
"""

import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.errors import BusyError
from zoo.files import processes

_BEAT_SECONDS = 60
_SILENT_SECONDS = 300
_held: set["Lock"] = set()


class Lock:
    """Held from construction to `release`.

    Args:
        folder: the run directory.

    Raises:
        BusyError: another process is at work there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = self._take()
        _held.add(self)
        self._released = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        self._released.set()
        _held.discard(self)
        _remove(self.path)

    def _take(self) -> Path:
        while True:
            newest = max(_numbers(self.folder), default=0)
            if newest and (owner := _owner(self.folder / f".lock.{newest}", self.folder)):
                raise BusyError(f"{self.folder} is in use by PID {owner['pid']}{_where(owner)} since {owner['since']}.")
            mine = self.folder / f".lock.{newest + 1}"
            if _place(mine, self.folder):
                if max(_numbers(self.folder), default=0) == newest + 1:
                    for number in _numbers(self.folder) - {newest + 1}:
                        _remove(self.folder / f".lock.{number}")
                    return mine
                _remove(mine)  # an even newer one came up between the look and the rename

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_SECONDS):
            try:
                os.utime(self.path / "owner.json")
            except OSError:
                return


@contextmanager
def all_released() -> Iterator[None]:
    """What this process locks inside is free again outside."""
    try:
        yield
    finally:
        for lock in [*_held]:
            lock.release()


def holder(folder: Path) -> dict[str, Any] | None:
    """Who is at work in the folder (pid, since …); None for nobody."""
    newest = max(_numbers(folder), default=0)
    return _owner(folder / f".lock.{newest}", folder) if newest else None


def _numbers(folder: Path) -> set[int]:
    return {int(n) for p in folder.glob(".lock.*") if (n := p.name.removeprefix(".lock.")).isdecimal()}


def _place(lock: Path, folder: Path) -> bool:
    """Whether this process got it."""
    beside = folder / f".lock.{uuid.uuid4().hex}.new"
    try:
        beside.mkdir()
        (beside / "owner.json").write_text(json.dumps(_self(folder)), "utf-8")
        os.rename(beside, lock)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if lock.exists():
            return False
        error.filename = str(folder)  # that of a full disk names none
        raise
    return True


def _remove(lock: Path) -> None:
    shutil.rmtree(lock, ignore_errors=True)


def _self(folder: Path) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "since": datetime.now().strftime("%H:%M"),
        "date": datetime.now().strftime("%Y-%m-%d"),
        "process_start": processes.start(os.getpid()),
        "boot": processes.boot(),
        "pid_space": processes.space(),
        "machine": processes.machine(),
        "folder": folder.stat().st_ino,
        "path": str(folder.resolve()),
    }


def _owner(lock: Path, folder: Path) -> dict[str, Any] | None:
    """Who holds the lock; None if it is void. One that a power cut left unreadable is void too."""
    here = _self(folder)
    try:
        owner: dict[str, Any] = json.loads((lock / "owner.json").read_text("utf-8"))
        touched = (lock / "owner.json").stat().st_mtime
    except (OSError, ValueError):
        return None
    if not isinstance(owner, dict) or not here.keys() <= owner.keys():
        return None
    is_here = owner["machine"] == here["machine"]
    if owner["folder"] != here["folder"] and not (is_here and owner["path"] == here["path"]):
        return None  # a copy; some network file systems number a folder anew, so its path counts too
    if is_here:
        if owner["boot"] != here["boot"]:
            return None
        if owner["pid_space"] and owner["pid_space"] == here["pid_space"]:
            return owner if processes.start(owner["pid"]) == owner["process_start"] else None
        if owner["boot"] is None and not processes.is_alive(owner["pid"]):
            return None
    return owner if _now(folder) - touched < _SILENT_SECONDS else None


def _where(owner: dict[str, Any]) -> str:
    today = owner["date"] == datetime.now().strftime("%Y-%m-%d")
    host = "" if owner["machine"] == processes.machine() else f" of {owner['machine'].partition('/')[0]}"
    return host if today else f"{host} ({owner['date']})"


def _now(folder: Path) -> float:
    """The clock of the file system, which may not be that of this machine; this one's, if nothing can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()
