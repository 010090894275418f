from pathlib import Path

import pytest

from zoo import paths


def test_a_pointer_leads_on_to_what_it_names(tmp_path: Path):
    (tmp_path / "gpt2" / "3" / "model").mkdir(parents=True)
    paths.point(tmp_path / "latest", tmp_path / "gpt2" / "3")
    assert paths.follow(tmp_path / "latest" / "model") == tmp_path / "gpt2" / "3" / "model"


def test_pointer_and_target_can_be_moved_together(tmp_path: Path):
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
