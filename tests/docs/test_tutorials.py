"""The first tutorial in its other forms: a notebook, and Hindi."""

import importlib.util
import os
import runpy
import shutil
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "notebook.py"))
SHORT = " --trainer.max_steps=2 --trainer.limit_val_batches=1 --trainer.accelerator=cpu"


def test_the_notebook_is_what_its_tool_writes():
    assert TOOL["NOTEBOOK"].read_text() == TOOL["notebook"]()


@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="nbclient is missing: uv sync --group docs")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (folder := tmp_path / "docs" / "tutorials").mkdir(parents=True)
    for name, value in {"UV_PROJECT": str(ROOT), "UV_NO_SYNC": "1", "IPYTHONDIR": str(tmp_path)}.items():
        monkeypatch.setitem(os.environ, name, value)
    notebook = nbformat.reads(TOOL["notebook"](), as_version=4)
    commands = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith("!")]
    assert len(commands) >= 4
    for cell in commands:
        cell.source += SHORT if " fit " in cell.source else ""
        cell.source += "\nassert _exit_code == 0"
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(folder)}}).execute()
    assert "perplexity" in str([cell.outputs for cell in commands])


def test_the_hindi_page_has_the_commands_of_the_english_one():
    english, hindi = (next(p for p in PAGES if p.path.name == name) for name in ("first_run.md", "first_run.hi.md"))
    assert [b.text for b in hindi.blocks if b.kind != "bash"] == [b.text for b in english.blocks if b.kind != "bash"]
    assert hindi.text.count("\n## ") == english.text.count("\n## ")
