"""Every command in docs/ and the README does what its page says, each by itself, in a directory as a reader has it.

Only the training is cut short. What needs the hub or a GPU is checked as far as the command line goes without either.
"""

import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEXT
from contract_cases import recordings
from doc_pages import PAGES, ROOT, Page
from PIL import Image
from test_configs import CHATS

import zoo
from zoo.command import before_torch
from zoo.command.from_python import fit
from zoo.runs import run

TRAINING = ("fit", "validate", "test", "predict")
SHORT = ["--trainer.accelerator=cpu", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]
SHORT_FIT = [*SHORT, "--trainer.max_steps=2"]
OTHERS = {"uv run pytest", "uv run tensorboard --logdir runs"}
RUNS = (
    "quickstart",
    "quickstart_diffusion",
    "quickstart_text_classification",
    "quickstart_vision",
    "quickstart_speech",
)
OWN = ["--data.train=my_speech", "--data.group_column=null", "--data.num_workers=0"]
"""For the run of the speech quickstart: what it speaks itself takes an extra."""
SPOKEN = "python:zoo.audio.synthesis.spoken_digits"
Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with files of the reader's own and a finished run of each quickstart."""
    from zoo.__main__ import main

    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "my.txt").write_text(TEXT)
    for name in ("cats", "dogs"):
        (folder / "my_images" / name).mkdir(parents=True)
        for i in range(12):
            colour = (20 * i, 99, 200 if name == "cats" else 20)
            Image.new("RGB", (16, 12), colour).save(folder / "my_images" / name / f"{i}.png")
    (folder / "chats.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS))
    recordings(folder / "my_speech", 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for config in RUNS:
            own = OWN if config == "quickstart_speech" else []
            assert main(["fit", "--config", f"configs/{config}.yaml", *own, *SHORT_FIT]) == 0
    return folder


@pytest.fixture
def desk(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def all_commands() -> list[Any]:
    found: dict[str, Page] = {}
    for page in PAGES:
        for command in page.zoo_commands:
            found.setdefault(command, page)
    return [pytest.param(page, command, id=f"{page.path.stem}: {command}") for command, page in found.items()]


@pytest.mark.parametrize(("page", "command"), all_commands())
def test_the_command_does_what_its_page_says(page: Page, command: str, desk: Path, zoo_command: Zoo):
    name, *flags = shlex.split(command)
    lay_out(page, command, desk, zoo_command)
    if name in TRAINING and needs_more_than_this_machine(flags):
        assert before_torch.answer([name, *flags]) is None
        return
    code, said, complaint = zoo_command(name, *flags, *shortened(name, flags))
    assert (code, complaint) == (0, "")
    assert "runs/" in said or name not in TRAINING or {"--print_config", "--help"} & {*flags}


def write_files(folder: Path) -> None:
    for page in PAGES:
        for file in page.files:
            (folder / file.title).write_text(file.text)


def lay_out(page: Page, command: str, desk: Path, zoo_command: Zoo) -> None:
    """The files that the pages have their reader make, and the run that the command names."""
    write_files(desk)
    for earlier in page.zoo_commands[: page.zoo_commands.index(command)]:
        if earlier.startswith("init "):
            assert zoo_command(*shlex.split(earlier))[0] == 0
    latest = desk / "runs" / _kind_of_run(page, command) / "1"
    for named in re.findall(r"runs/[\w-]+/\d+", command):
        if not Path(named).exists():
            shutil.copytree(latest, desk / named)
    run.make_latest(latest.relative_to(desk))


def _kind_of_run(page: Page, command: str) -> str:
    if "--image" in command:
        return "quickstart_vision"
    if "--audio" in command or page.path.stem == "speech":
        return "quickstart_speech"
    own = {"text_classification": "quickstart_text_classification", "diffusion": "quickstart_diffusion"}
    return own.get(page.path.stem, "quickstart")


def needs_more_than_this_machine(flags: list[str]) -> bool:
    """Whether weights or data come from the hub, or several devices or a logger's account are asked for."""
    if {"--print_config", "--help"} & {*flags} or any(f.startswith("--resume") for f in flags):
        return False
    values = dict(pairwise(flags))
    sources = {values.get("--model.pretrained"), values.get("--data.train")}
    for flag, value in pairwise(flags):
        if flag == "--config":
            config = yaml.safe_load(Path(value).read_text())
            model, data = (config.get(part, {}).get("init_args", {}) for part in ("model", "data"))
            sources |= {model.get("pretrained"), model.get("tokenizer")}
            sources |= {data.get("train")} if "--data.train" not in values else set()
    if SPOKEN in sources and importlib.util.find_spec("espeakng_loader") is None:
        return True
    away = any(s and not s.startswith(("python:", "runs/")) and not Path(s).exists() for s in sources)
    return away or bool({"--trainer.devices", "--trainer.num_nodes"} & {*flags}) or "wandb" in " ".join(flags)


def shortened(name: str, flags: list[str]) -> list[str]:
    if any(f.startswith("--resume") for f in flags) or name not in TRAINING or {"--help", "--print_config"} & {*flags}:
        return []
    if name == "predict":
        speaks = run.settings(run.find())["model"]["class_path"] == "zoo.CausalLM"
        return ["--trainer.accelerator=cpu", *(["--model.sampling.max_new_tokens=4"] if speaks else [])]
    return SHORT_FIT if name == "fit" else SHORT


def python_blocks() -> list[Any]:
    return [
        pytest.param(block.text, id=page.path.stem)
        for page in PAGES
        for block in page.blocks
        if block.kind == "python" and not block.title
    ]


@pytest.mark.parametrize("code", python_blocks())
def test_the_python_of_the_page_runs(code: str, desk: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(desk)
    short = {"max_steps": 2, "accelerator": "cpu", "limit_val_batches": 1}
    monkeypatch.setattr(zoo, "fit", lambda *args, **settings: fit(*args, **{**short, **settings}))
    exec(code, {})


def console_blocks() -> list[Any]:
    blocks = [(page, block.text) for page in PAGES for block in page.blocks if block.kind == "console"]
    return [pytest.param(text, id=f"{page.path.stem}: {text.partition(chr(10))[0]}") for page, text in blocks]


@pytest.mark.parametrize("text", console_blocks())
def test_the_command_prints_what_its_page_shows(text: str, desk: Path, zoo_command: Zoo):
    command, _, shown = text.partition("\n")
    _, said, complaint = zoo_command(*shlex.split(command.removeprefix("$ uv run zoo ").removeprefix("$ zoo ")))
    assert said + complaint == shown


def test_other_commands_are_known():
    assert {line for page in PAGES for line in page.commands if not line.startswith("uv run zoo ")} <= OTHERS


def test_ci_runs_the_tests_as_the_readme_says():
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "uv run pytest" in next(page for page in PAGES if page.name == "README.md").commands


def test_data_files_of_the_pages_can_be_read(here: Path):
    from zoo import TextData

    page = next(page for page in PAGES if page.path.stem == "data_formats")
    assert len(page.files) > 4
    for file in page.files:
        (here / file.title).write_text(file.text)
        assert TextData(train=file.title, validation=file.title).samples("train"), file.title
