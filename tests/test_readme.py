"""Every command in the README runs as a new user would type it; only the training is cut short."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXT, save_tiny
from hub_cache import put_model
from PIL import Image
from test_configs import CHATS, TEMPLATE, TINY, put_datasets

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
LINES = [line.partition(" #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
ZOO = [line.partition("uv run zoo ")[2] for line in LINES if "uv run zoo " in line]
TRAINING = ("fit", "validate", "test", "predict")
SHORT = ["--trainer.accelerator=cpu", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]
SHORT_FIT = [*SHORT, "--trainer.max_steps=2"]
SHORT_PREDICT = ["--trainer.accelerator=cpu", "--model.sampling.max_new_tokens=4"]


@pytest.fixture(scope="module")
def fresh_clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory as the README's reader has it before the first command."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "my.txt").write_text(TEXT)
    (folder / "my_lab.py").write_text(next(block for kind, block in BLOCKS if "class FocalLM" in block))
    for name in ("cats", "dogs"):
        (folder / "my_pictures" / name).mkdir(parents=True)
        for i in range(12):
            colour = (20 * i, 99, 200 if name == "cats" else 20)
            Image.new("RGB", (16, 12), colour).save(folder / "my_pictures" / name / f"{i}.png")
    (folder / "chats.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS))
    for name in ("gpt2", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        put_model(name, lambda path, name=name: save_tiny(path, TINY[name], TEMPLATE))
    put_datasets()
    return folder


@pytest.fixture
def clone(fresh_clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for each test, with nothing of another's; the test runs in it."""
    shutil.copytree(fresh_clone, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def shortened(command: str) -> list[str]:
    name, *flags = shlex.split(command)
    if "--resume" in flags or name not in TRAINING:
        return [name, *flags]  # with the settings of its run; or no training at all
    if "--image" in flags:
        return [name, *flags, "--trainer.accelerator=cpu"]
    return [name, *flags, *{"fit": SHORT_FIT, "predict": SHORT_PREDICT}.get(name, SHORT)]


def goes_on_from(position: int) -> str | None:
    """The command whose run this one takes, where it names no config: the last training above it, or that it names."""
    command = ZOO[position]
    if "--config" in command or command.partition(" ")[0] not in (*TRAINING, "runs"):
        return None
    config = re.sub(r".*--run runs/(\w+).*", r"--config configs/\1.yaml", command) if "--run" in command else "--config"
    return next(above for above in reversed(ZOO[:position]) if above.startswith("fit") and config in above)


@pytest.mark.parametrize("position", range(len(ZOO)), ids=lambda position: f"{position}: {ZOO[position]}")
def test_the_command_does_what_the_readme_says(position: int, clone: Path, zoo_command: Any):
    if trained := goes_on_from(position):
        assert zoo_command(*shortened(trained))[0] == 0
    code, said, complaint = zoo_command(*shortened(ZOO[position]))
    assert (code, complaint) == (0, "")
    assert "runs/" in said or ZOO[position].partition(" ")[0] not in TRAINING


def test_the_python_of_the_readme_runs(clone: Path, zoo_command: Any, capsys: Any):
    assert zoo_command(*shortened(next(command for command in ZOO if "configs/quickstart.yaml" in command)))[0] == 0
    snippet = next(block for kind, block in BLOCKS if kind == "python" and "zoo.load" in block)
    exec(snippet, {})
    assert "The for statement" in capsys.readouterr().out


HELP = [block for kind, block in BLOCKS if kind == "text" and block.startswith("$ zoo")]


@pytest.mark.parametrize("block", HELP, ids=lambda block: block.partition("\n")[0])
def test_help_is_what_the_readme_shows(block: str, zoo_command: Any):
    command, _, shown = block.partition("\n")
    assert zoo_command(*shlex.split(command.removeprefix("$ zoo")))[:2] == (0, shown)


def test_the_readme_shows_the_help():
    assert [block.partition("\n")[0] for block in HELP][:1] == ["$ zoo --help"]


def test_other_commands_of_the_readme_are_known():
    others = [line for line in LINES if line and "uv run zoo " not in line]
    assert others == ["uv run pytest", "uv run tensorboard --logdir runs"]


def test_ci_calls_the_readmes_test_command():
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text().splitlines()
