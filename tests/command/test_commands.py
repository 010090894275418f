"""zoo list, runs, schema and completion."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo.command import completion
from zoo.runs.lock import Lock

ROOT = Path(__file__).parent.parent.parent


def test_list_has_a_line_for_every_config(zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    said = zoo_command("list")[1]
    for path in (ROOT / "configs").rglob("*.yaml"):
        name = path.relative_to(ROOT / "configs").with_suffix("").as_posix()
        line = next(line for line in said.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 3


def test_list_has_a_line_for_every_task(zoo_command: Any):
    said = zoo_command("list")[1]
    assert all(name in said for name in ("zoo.CausalLM", "zoo.ImageClassification", "zoo.TextData", "zoo.EMA"))


@pytest.fixture
def runs(here: Path) -> Path:
    for number in (1, 2, 3):
        folder = here / "runs" / "gpt2" / str(number)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text("model: {class_path: zoo.CausalLM}\n")
    metrics = {"fit": {"metrics": {"loss": 3.25, "perplexity": 25.8, "tokens": 9}, "eval_settings": {"step": 40}}}
    (here / "runs/gpt2/1/metrics.json").write_text(json.dumps(metrics))
    (here / "runs/gpt2/2/checkpoints/step=30.ckpt").write_bytes(b"0" * 5_000_000)
    return here / "runs"


def test_runs_have_task_state_metrics_and_size(runs: Path, zoo_command: Any):
    lock = Lock(runs / "gpt2" / "3")
    rows = {line.split()[0]: line for line in zoo_command("runs")[1].splitlines()}
    lock.release()
    assert "zoo.CausalLM  finished" in rows["runs/gpt2/1"]
    assert "fit: loss 3.25, perplexity 25.8" in rows["runs/gpt2/1"]
    assert rows["runs/gpt2/2"].split()[2:5] == ["stopped", "30", "–"]
    assert "5 MB" in rows["runs/gpt2/2"]
    assert f"running (PID {os.getpid()})" in rows["runs/gpt2/3"]


def test_no_run_says_how_to_start_one(here: Path, zoo_command: Any):
    assert "Start one: uv run zoo fit" in zoo_command("runs")[1]


def test_the_schema_goes_where_it_is_asked_for(here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    from zoo.command.settings import write_schema

    monkeypatch.setattr(write_schema, "schema", lambda **_: {"title": "zoo config"})
    assert zoo_command("schema", "mine.json")[0] == 0
    assert json.loads(Path("mine.json").read_text()) == {"title": "zoo config"}


# Completion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["f"], ["fit"]),
        (["fit", "--model", "zoo.C"], ["zoo.CausalLM"]),
        (["fit", "--model", "zoo.CausalLM", "--model.max"], ["--model.max_length"]),
        (["fit", "--model", "zoo.CausalLM", "--model.schedule", "c"], ["cosine", "constant"]),
        (["fit", "--trainer.precision", "bf"], ["bf16-mixed"]),
        (["fit", "--model", "zoo.CausalLM", "--model.compile", ""], ["true", "false"]),
        (["fit", "--config", "quickstart_v"], ["quickstart_vision"]),
        (["fit", "--config", "configs/quickstart_v"], ["configs/quickstart_vision.yaml"]),
        (["predict", "--data", "zoo.TextData", "--pr"], ["--print_config", "--prompt"]),
        (["fit", "--model.optimizer", "torch.optim.Ada"], None),
        (["init", "im"], ["images"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in ("f", "fit", "predict", "init") else "",
)
def test_what_is_typed_can_be_completed(typed: list[str], offered: list[str] | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    found = completion.words(typed)
    assert found == offered if offered is not None else "torch.optim.AdamW" in found


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_once_the_script_is_sourced(here: Path):
    (here / "zoo").write_text(f'#!/bin/sh\nexec {sys.executable} -m zoo "$@"\n')
    (here / "zoo").chmod(0o755)
    script = (
        "source <(zoo completion bash); COMP_WORDS=(zoo fit --trainer.max_ep); COMP_CWORD=2; _zoo_complete; "
        'echo "${COMPREPLY[@]}"; complete -p zoo'
    )
    path = os.pathsep.join([str(here), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment).stdout
    assert said.splitlines() == ["--trainer.max_epochs", "complete -o default -F _zoo_complete zoo"]
