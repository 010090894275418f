import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import BusyError
from zoo.runs import lock
from zoo.runs.lock import Lock


def owned_by(folder: Path, **changes: Any) -> None:
    """A lock in the folder whose owner is this process, but for these changes."""
    held = Lock(folder)
    owner = held.path / "owner.json"
    kept = json.loads(owner.read_text()) | changes
    held.release()
    held.path.mkdir()
    owner.write_text(json.dumps(kept))


def a_dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_second_process_is_refused_and_told_who_is_at_work(tmp_path: Path):
    Lock(tmp_path)
    with pytest.raises(BusyError, match=rf"in use by PID {os.getpid()} since \d\d:\d\d"):
        Lock(tmp_path)


def test_a_released_lock_is_free_and_leaves_nothing(tmp_path: Path):
    Lock(tmp_path).release()
    assert [*tmp_path.iterdir()] == []
    Lock(tmp_path)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path):
    owned_by(tmp_path, pid=a_dead_pid())
    Lock(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lock.2"]


def test_a_process_that_was_killed_leaves_no_lock_behind(tmp_path: Path):
    take = f"from zoo.runs.lock import Lock; Lock(pathlib.Path({str(tmp_path)!r}))"
    code = f"import os, pathlib; {take}; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [*tmp_path.glob(".lock.*")]
    Lock(tmp_path)


def test_another_process_with_the_same_number_is_not_the_owner(tmp_path: Path):
    owned_by(tmp_path, process_start="1")
    Lock(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lock.2"]


def test_a_lock_does_not_survive_a_reboot(tmp_path: Path):
    owned_by(tmp_path, boot="another")
    Lock(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lock.2"]


def test_a_lock_does_not_survive_copying(tmp_path: Path):
    (original := tmp_path / "original").mkdir()
    Lock(original)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    Lock(copy)
    with pytest.raises(BusyError):
        Lock(original)


def test_a_lock_of_another_machine_on_the_same_disk_holds_as_long_as_it_is_touched(tmp_path: Path):
    owned_by(tmp_path, machine="far/1", boot="another", pid=a_dead_pid())
    with pytest.raises(BusyError, match="of far"):
        Lock(tmp_path)
    long_ago = time.time() - 2 * lock._SILENT_SECONDS
    os.utime(tmp_path / ".lock.1/owner.json", (long_ago, long_ago))
    Lock(tmp_path)


def test_of_many_processes_that_start_at_once_one_gets_a_stale_lock(tmp_path: Path):
    owned_by(tmp_path, pid=a_dead_pid())
    code = (
        "import pathlib, sys, time\nfrom zoo.runs.lock import Lock\nfrom zoo.errors import BusyError\n"
        "sys.stdin.readline()\n"
        f"try: Lock(pathlib.Path({str(tmp_path)!r}))\nexcept BusyError: sys.exit(75)\n"
        "print('got it', flush=True)\nsys.stdin.readline()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(6)]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    losers = 0
    while losers < 5:
        losers = sum(child.poll() == 75 for child in children)
    winner = next(child for child in children if child.poll() is None)
    assert winner.stdout.readline() == "got it\n"
    assert winner.communicate("end\n")[0] == ""
    assert winner.returncode == 0
