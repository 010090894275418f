"""What a new task touches: its file, its public name, a config, a case of the contract, and the README."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from contract_cases import CASES

import zoo
from zoo.command.settings import schema

ROOT = Path(__file__).parents[2]
TASKS = sorted((ROOT / "zoo" / "tasks").glob("[!_]*.py"))
PARROT = """
'''Parrot: say the same again.'''

from typing import Any

from zoo.task import Task


class Parrot(Task):
    '''Say the same again.

    Args:
        echoes: how often it is said.
    '''

    def __init__(self, echoes: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.echoes = echoes
"""


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_has_a_public_name_a_config_a_case_and_a_row_of_the_readme(path: Path):
    [name] = [name for name, home in zoo._HOMES.items() if home == f"zoo.tasks.{path.stem}"]
    configs = [yaml.safe_load(config.read_text()) for config in (ROOT / "configs").glob("*.yaml")]
    assert f"zoo.{name}" in {config["model"]["class_path"] for config in configs}
    assert path.stem in CASES
    assert f"| `zoo.{name}`" in (ROOT / "README.md").read_text("utf-8")


def test_the_map_of_the_house_names_what_a_new_task_touches():
    section = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## What a new task touches")[2]
    touched = re.findall("^- .*?`(.*?)`", section, re.MULTILINE)
    assert touched == ["zoo/tasks/", "zoo/__init__.py", "configs/", "tests/contract_cases.py", "README.md"]


def test_a_file_and_a_public_name_are_all_that_the_command_line_needs(tmp_path: Path):
    shutil.copytree(ROOT / "zoo", tmp_path / "zoo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "zoo" / "tasks" / "parrot.py").write_text(PARROT)
    init = tmp_path / "zoo" / "__init__.py"
    line = "    from zoo.tasks.causal_lm import CausalLM as CausalLM\n"
    init.write_text(init.read_text().replace(line, f"{line}    from zoo.tasks.parrot import Parrot as Parrot\n"))

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "zoo", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert str(tmp_path) in said("schema")
    assert re.search("zoo.Parrot +Say the same again.", said("list"))
    assert "zoo.Parrot" in said("fit", "--help")
    assert re.search(r"--model\.echoes +how often it is said. Default: 2", said("fit", "--model", "Parrot", "--help"))
    assert "zoo.Parrot" in said("completion", "words", "fit", "--model", "zoo.P")
    assert "--model.echoes" in said("completion", "words", "fit", "--model", "zoo.Parrot", "--model.e")


def test_every_task_is_in_the_schema_that_ships():
    homes = {schema.load().definitions[name]["x-home"] for name in schema.load().subclasses("zoo.Task")}
    assert {home.rpartition(".")[0] for home in homes} == {f"zoo.tasks.{path.stem}" for path in TASKS}
