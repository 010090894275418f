"""--config by name: which file is meant, and what a misspelt name is told."""

from pathlib import Path
from typing import Any

import pytest

from zoo.command.settings import shipped

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"


@pytest.mark.parametrize("typed", ["quickstart", "quickstart.yaml", "configs/quickstart.yaml", "configs/quickstart"])
def test_a_config_of_zoo_is_found_from_any_folder(typed: str, here: Path):
    assert shipped.find(typed) == (QUICKSTART, "quickstart.yaml")


@pytest.mark.parametrize("typed", ["quickstart", "quickstart.yaml"])
def test_a_file_of_the_working_directory_wins(typed: str, here: Path):
    Path("quickstart.yaml").write_text("model: {}")
    assert shipped.find(typed) == (Path("quickstart.yaml"), "quickstart.yaml")


def test_a_folder_of_the_same_name_is_not_meant(here: Path):
    Path("quickstart").mkdir()
    assert shipped.find("quickstart")[0] == QUICKSTART


def test_no_name_leads_out_of_the_folder_of_the_configs(here: Path):
    assert shipped.find("../mkdocs") == (Path("../mkdocs"), "../mkdocs")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("quikstart", "quickstart"), ("overlays/early_stoping.yaml", "overlays/early_stopping"), ("zzz", "zoo list")],
)
def test_a_misspelt_name_is_told_the_nearest(typed: str, meant: str, here: Path, zoo_command: Any):
    code, _, complaint = zoo_command("fit", "--config", typed)
    assert (code, typed in complaint, meant in complaint) == (66, True, True)


def test_relative_paths_of_a_config_begin_in_the_working_directory(here: Path, zoo_command: Any):
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.yaml").write_text(QUICKSTART.read_text())
    flags = ("--config", "elsewhere/mine.yaml", "--data.train", "notes.txt")
    Path("elsewhere/notes.txt").write_text("not this one")
    assert "notes.txt" in zoo_command("fit", *flags)[2]
    Path("notes.txt").write_text("a text")
    complaint = zoo_command("fit", *flags, "--trainer.max_epochs", "many")[2]
    assert "notes.txt" not in complaint
    assert "max_epochs" in complaint


@pytest.mark.parametrize(("depth", "begins"), [("1", "uv run zoo fit"), (None, "zoo fit")])
def test_printed_commands_say_uv_run_where_zoo_was_called_so(
    depth: str | None, begins: str, here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    if depth:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", depth)
    assert f": {begins} --config quickstart, say" in zoo_command("fit")[2]
    assert f": {begins} --config quickstart\n" in zoo_command("runs")[1]
