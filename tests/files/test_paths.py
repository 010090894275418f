import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zoo.files import paths, processes


@pytest.fixture(params=["with links", "without links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system has symbolic links."""
    if request.param == "without links":

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("a required privilege is not held by the client")

        monkeypatch.setattr(os, "symlink", refuse)
    return bool(request.param == "with links")


def test_a_pointer_leads_on_to_what_it_names(tmp_path: Path, links: bool):
    for number in ("2", "3"):
        (tmp_path / "gpt2" / number / "model").mkdir(parents=True)
        paths.point(tmp_path / "latest", tmp_path / "gpt2" / number)
        assert paths.follow(tmp_path / "latest" / "model") == tmp_path / "gpt2" / number / "model"
    assert (tmp_path / "latest").is_symlink() == links
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_pointer_to_a_folder_is_one_that_every_program_follows(tmp_path: Path):
    (tmp_path / "gpt2/3/model").mkdir(parents=True)
    (tmp_path / "latest").write_text("gpt2/2\n")  # as a system without links has it
    paths.point(tmp_path / "latest", tmp_path / "gpt2/3")
    assert (tmp_path / "latest/model").is_dir()


def test_a_pointer_whose_target_is_gone_leads_there_all_the_same(tmp_path: Path, links: bool):
    (tmp_path / "gpt2").mkdir()
    paths.point(tmp_path / "latest", tmp_path / "gpt2")
    (tmp_path / "gpt2").rmdir()
    assert paths.follow(tmp_path / "latest") == tmp_path / "gpt2"


POINTING = """
import sys
from pathlib import Path
from zoo.files import paths
for _ in range(300):
    paths.point(Path("latest"), Path(sys.argv[1]))
"""


def test_two_processes_that_point_at_once_leave_no_moment_without_a_pointer(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    paths.point(tmp_path / "latest", tmp_path / "a")
    both = [subprocess.Popen([sys.executable, "-c", POINTING, name], cwd=tmp_path) for name in ("a", "b")]
    while any(process.poll() is None for process in both):
        assert paths.follow(tmp_path / "latest") in (tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "latest").is_dir()
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_what_a_kill_left_of_a_link_is_swept_and_not_what_it_leads_to(tmp_path: Path):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2/weights").write_text("kept")
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = tmp_path / f".latest.{processes.here()}.{gone.stdout.strip()}.tmp"
    left.symlink_to("gpt2", target_is_directory=True)
    paths.sweep(tmp_path)
    assert not left.is_symlink()
    assert (tmp_path / "gpt2/weights").read_text() == "kept"


def test_pointer_and_target_can_be_moved_together(tmp_path: Path, links: bool):
    (tmp_path / "a" / "gpt2").mkdir(parents=True)
    paths.point(tmp_path / "a" / "latest", tmp_path / "a" / "gpt2")
    (tmp_path / "a").rename(tmp_path / "b")
    assert paths.follow(tmp_path / "b" / "latest") == tmp_path / "b" / "gpt2"


def test_a_path_without_pointers_stays_as_it_is():
    assert paths.follow("some/where/latest/model") == Path("some/where/latest/model")
    assert paths.follow("/absolute/x.txt") == Path("/absolute/x.txt")


def test_a_file_whose_writing_fails_is_as_it_was(tmp_path: Path):
    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    paths.write_text(tmp_path / "x", "whole")
    with pytest.raises(OSError, match="disk full"):
        paths.write_whole(tmp_path / "x", fail)
    assert (tmp_path / "x").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, by name, and what was renamed, in their order. Names of files being written without who does."""
    told: list[str] = []

    def name(path: Any) -> str:
        return Path(path).name.replace(f".{processes.here()}.{os.getpid()}.tmp", ".tmp")

    def sync(descriptor: int) -> None:
        told.append(f"sync {name(os.readlink(f'/proc/self/fd/{descriptor}'))}")

    def renaming(rename: Any) -> Any:
        def renamed(old: Any, new: Any) -> None:
            told.append(f"rename {name(old)} to {name(new)}")
            rename(old, new)

        return renamed

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", renaming(os.replace))
    monkeypatch.setattr(os, "rename", renaming(os.rename))
    return told


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_is_on_the_disk_before_it_is_in_place_and_its_place_before_it_is_done(
    tmp_path: Path, happened: list[str]
):
    paths.write_text(tmp_path / "x", "whole")
    assert happened == ["sync .x.tmp", "rename .x.tmp to x", f"sync {tmp_path.name}"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_so_is_a_folder_with_all_that_is_in_it(tmp_path: Path, happened: list[str]):
    def fill(folder: Path) -> None:
        (folder / "inside").mkdir()
        (folder / "inside/weights").write_text("new")

    for _ in range(2):
        happened.clear()
        paths.replace_folder(tmp_path / "model", fill)
    assert {*happened[:3]} == {"sync .model.tmp", "sync inside", "sync weights"}
    assert happened[3:] == [
        "rename model to .model.before.tmp",
        "rename .model.tmp to model",
        f"sync {tmp_path.name}",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_filled_is_as_it_was(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "weights").write_text("half")
        raise KeyboardInterrupt

    paths.replace_folder(tmp_path / "model", lambda folder: (folder / "weights").write_text("whole"))
    with pytest.raises(KeyboardInterrupt):
        paths.replace_folder(tmp_path / "model", fail)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["model", "model/weights"]
    assert (tmp_path / "model/weights").read_text() == "whole"


def test_what_killed_processes_were_writing_is_swept_and_nothing_else(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = {
        f".x.{processes.here()}.{dead.pid}.tmp": False,
        f".model.{processes.here()}.{dead.pid}.tmp": False,
        f".x.{processes.here()}.{os.getppid()}.tmp": True,
        f".x.{processes.here()}.{os.getpid()}.tmp": False,  # of an earlier process with our number
        f".young.0123456789ab.{dead.pid}.tmp": True,  # of another container, where that number may be alive
        f".old.0123456789ab.{dead.pid}.tmp": False,
        ".x.²³.tmp": True,
        "other.tmp": True,
        "step=3.ckpt": True,
    }
    for name in left:
        (tmp_path / name).mkdir() if "model" in name else (tmp_path / name).touch()
    (tmp_path / f".model.{processes.here()}.{dead.pid}.tmp/weights").touch()
    long_ago = time.time() - 2 * paths._HOUR
    os.utime(tmp_path / f".old.0123456789ab.{dead.pid}.tmp", (long_ago, long_ago))
    paths.sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {name for name, stays in left.items() if stays}


def test_what_this_process_is_writing_just_now_is_not_swept(tmp_path: Path):
    paths.write_whole(tmp_path / "x", lambda file: (paths.sweep(tmp_path), file.write(b"whole")))
    assert (tmp_path / "x").read_text() == "whole"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"\0" * 9000, b"a\nb\nc", b"../" * 4000])
def test_a_damaged_pointer_leads_somewhere_and_breaks_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "latest").write_bytes(content)
    assert isinstance(paths.follow(tmp_path / "latest" / "model"), Path)
