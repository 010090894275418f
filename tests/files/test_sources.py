"""What a source names: every file once, by its own name; and which split a name says."""

import os
from pathlib import Path
from typing import Any

import pytest

from zoo.files import sources

NAMES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
         "dev": "validation", "test": "test"}  # fmt: skip


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)


def walked(folder: Path, *pattern: str) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    found = sources.walk(folder, notes, pattern or ("**",))
    return [path.relative_to(folder).as_posix() for path in found], notes


def test_a_folder_is_entered_by_its_own_name_even_where_a_link_to_it_comes_first(tmp_path: Path):
    touch(tmp_path / "z/inside/a.txt")
    (tmp_path / "a").symlink_to("z/inside")
    assert walked(tmp_path) == (
        ["z/inside/a.txt"],
        [f"left out the link {tmp_path}/a, which leads to a folder that is read anyway"],
    )


def test_of_several_links_to_a_folder_elsewhere_the_first_by_name_is_followed(tmp_path: Path):
    touch(tmp_path / "elsewhere/a.txt")
    (tmp_path / "data").mkdir()
    for name in "hcagbfed":
        (tmp_path / "data" / name).symlink_to("../elsewhere")
    found, notes = walked(tmp_path / "data")
    assert found == ["a/a.txt"]
    assert [note.split(",")[0].rpartition("/")[2] for note in notes] == [*"bcdefgh"]


def test_a_link_to_a_file_is_a_file_and_one_to_a_folder_around_is_not_followed(tmp_path: Path):
    touch(tmp_path / "outside.txt", tmp_path / "data/a.txt")
    (tmp_path / "data/b.txt").symlink_to("../outside.txt")
    (tmp_path / "data/up").symlink_to(tmp_path)
    found, notes = walked(tmp_path / "data")
    assert found == ["a.txt", "b.txt"]
    assert len(notes) == 1


def test_what_the_pattern_rules_out_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "a/x/1.txt", tmp_path / "b/x/2.txt", tmp_path / "a/y/3.txt", tmp_path / "a/.h/4.txt")
    opened: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda at: opened.append(os.path.relpath(at, tmp_path)) or scan(at))
    assert walked(tmp_path, "a", "x", "*.txt")[0] == ["a/x/1.txt"]
    assert opened == [".", "a", "a/x"]
    assert walked(tmp_path, "**", "[12].txt")[0] == ["a/x/1.txt", "b/x/2.txt"]
    assert walked(tmp_path, "a", ".h", "*")[0] == ["a/.h/4.txt"]


def test_a_folder_that_may_not_be_read_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "a/1.txt", tmp_path / "b/2.txt")
    scan = os.scandir

    def denied(at: str) -> Any:
        if at.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scan(at)

    monkeypatch.setattr(os, "scandir", denied)
    assert walked(tmp_path) == (["b/2.txt"], [f"left out {tmp_path}/a (Permission denied)"])


@pytest.mark.parametrize(("name", "split"), NAMES.items())
def test_a_name_says_which_split_it_is_of(name: str, split: str, here: Path):
    for way in (name, f"{name}.txt", f"{name.upper()}-00000-of-2.txt", f"{name}_1.txt", f"{name}/a.txt"):
        assert sources.split_of(Path(way)) == split
    assert sources.split_of(Path(f"{name}x.txt")) is None


def test_the_files_of_a_split_are_those_whose_names_say_so(here: Path):
    touch(Path("d/train.txt"), Path("d/dev.txt"))
    found = {split: [path.name for path in sources.files("d", split, [])] for split in ("train", "validation", "test")}
    assert found == {"train": ["train.txt"], "validation": ["dev.txt"], "test": []}
