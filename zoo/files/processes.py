"""Which process a written number means: numbers are given anew, after a reboot and in containers."""

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs here. True where it cannot be known (Windows would end it)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def start(pid: int) -> str | None:
    """When the process began, in ticks since the boot: a number may be given to another process later."""
    status = (_first_line(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return status[19] if status and status[0] not in ("Z", "X") else None  # dead, and not yet taken note of


def boot() -> str | None:
    return _first_line("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Name and number of this machine; a container has a name of its own."""
    return f"{socket.gethostname()}/{_first_line('/etc/machine-id') or uuid.getnode()}"


def space() -> str | None:
    """Within which numbers of processes are unique: a container counts its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


@cache
def here() -> str:
    """One word for all of that: where two agree, a number means the same process."""
    return hashlib.blake2b(repr((machine(), boot(), space())).encode(), digest_size=6).hexdigest()


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8").partition("\n")[0] or None
    except OSError:
        return None
