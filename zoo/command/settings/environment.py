"""What settings ask of the machine: files, a GPU, environment variables."""

import difflib
import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.command.settings.problems import MISSING, Problem
from zoo.errors import UserError
from zoo.files.endings import KINDS, PACKED, TABLES, TEXTS, kind
from zoo.files.paths import exists, follow, nearest_file

VARIABLES = {
    "ZOO_CACHE": "folder for encoded data and what else can be made again (default ~/.cache/zoo)",
    "ZOO_DEBUG": "1 shows the traceback behind a complaint",
    "ZOO_ASSETS": "tests only: folder with real weights and data",
}
"""Environment variables that zoo reads itself."""
_FILES = {*TABLES, *TEXTS, *PACKED, ".npz", ".safetensors", ".png", ".jpg", ".zip"}
_DEVICES = ("nvidia*", "dxg", "kfd", "nvhost*", "nvmap", "davinci*", "accel*")


def check(layers: Any, command: str, restored: bool) -> list[Problem]:
    """What the settings name and this machine does not have.

    Args:
        restored: whether weights come from a checkpoint, so that pretrained ones are not read.
    """
    return [*_data(layers, command), *([] if restored else _weights(layers)), *_gpu(layers)]


def _data(layers: Any, command: str) -> Iterator[Problem]:
    for split in _read_by(layers, command):
        node = layers.node("data", split)
        if isinstance(node.value, str) and (missing := _missing_file(node.value)):
            yield Problem(f"data.{split}{node.place}: {node.value}: {missing}{_near(node.value)}", MISSING)


def look(layers: Any, command: str, data: dict[str, Any]) -> list[Problem]:
    """What the data module would refuse of the files that it is to read, as far as that takes a moment.

    Args:
        data: the section as its constructor takes it.
    """
    module = str((layers.definition("data") or {}).get("x-looks", ""))
    for split in _read_by(layers, command) if module else ():
        source = data.get("init_args", {}).get(split)
        path = follow(source) if isinstance(source, str) else Path()
        if kind(path) in KINDS and exists(path) and path.is_file():
            try:
                importlib.import_module(module).look(path, data["init_args"])
            except UserError as error:
                return [Problem(str(error), error.exit_code)]
            except OSError:  # a file that may not be read: its reader says so
                continue
    return []


def _read_by(layers: Any, command: str) -> list[str]:
    """Splits that the command certainly reads."""
    named = [split for split in ("train", "validation", "test") if layers.node("data", split).value is not None]
    if command == "fit":
        return [split for split in named if split != "test"]
    wanted = {"validate": ("validation", "train"), "test": ("test", "validation", "train")}.get(command, ())
    return [split for split in wanted if split in named][:1]


def _missing_file(source: str) -> str:
    """What to say if the text certainly names a file or folder, and there is none."""
    if source.startswith("python:") or "://" in source or any(mark in source for mark in "*?[{"):
        return ""
    path = follow(source)
    is_path = source.startswith((".", "/", "~")) or source.count("/") > 1 or path.suffix.lower() in _FILES
    if not is_path or exists(path):
        return ""
    return "no such file" if path.suffix else "no such file or folder"


def _near(name: str) -> str:
    near = nearest_file(follow(name))
    return f"{near}?" if near else "."


def _weights(layers: Any) -> Iterator[Problem]:
    for name in ("pretrained", "tokenizer", "weights", "architecture"):
        node = layers.node("model", name)
        value = node.value
        if isinstance(value, str) and value.startswith((".", "/", "~")) and not exists(follow(value)):
            line = f"model.{name}{node.place}: {value}: no such file or folder{_near(value)}"
            yield Problem(line, MISSING)


def _gpu(layers: Any) -> Iterator[Problem]:
    node = layers.node("trainer", "accelerator")
    if node.value in ("gpu", "cuda") and not may_have_gpu():
        yield Problem(
            f"trainer.accelerator is '{node.value}'{node.place}, and this machine shows no GPU; "
            f"set auto or cpu. zoo doctor says what it found."
        )


def may_have_gpu() -> bool:
    """False only where no driver of any GPU can be there: Linux, and not one of their device files."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", None) in ("", "-1"):
        return False
    if sys.platform != "linux" or shutil.which("nvidia-smi"):
        return True
    return any(True for pattern in _DEVICES for _ in Path("/dev").glob(pattern))


def misspelt_variables(environment: Mapping[str, str]) -> list[Problem]:
    """Variables that are nearly one of zoo's. Others that begin alike belong to somebody else."""
    return [
        Problem(f"environment variable {name} is not one of zoo's; did you mean {near[0]}?")
        for name in sorted(environment)
        if name.startswith("ZOO") and name not in VARIABLES
        for near in [difflib.get_close_matches(name, VARIABLES, 1, 0.8)]
        if near
    ]
