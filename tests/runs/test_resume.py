import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import CASES, trainer
from small import Line, Numbers

from zoo.errors import ConfigError
from zoo.loop import checkpoint, guards
from zoo.runs import lock, run
from zoo.task import Task
from zoo.tasks.causal_lm import CausalLM

Command = Callable[..., tuple[int, str, str]]
FOLDER = Path("runs/first/1")


@pytest.fixture
def first(here: Path, zoo_command: Command, tiny_gpt2: Path, text_file: Path) -> list[str]:
    """A run of four steps with a checkpoint of each; returns the flags that take it further."""
    flags = [*CASES["causal_lm"](tiny_gpt2, text_file).flags, "--trainer.accelerator=cpu", "--name=first"]
    often = ["--checkpoint.every_n_steps=1", "--trainer.log_every_n_steps=1", "--trainer.limit_val_batches=1"]
    assert zoo_command("fit", *flags, *often, "--trainer.max_steps=4")[0] == 0
    return ["fit", "--resume", "first", "--trainer.max_steps=6", "--allow-change=trainer.max_steps"]


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Checkpoints do not know three settings, as before a version that added them; returns what ends that time."""
    flat, added = guards.flat, ("model.dropout", "model.stride", "data.max_broken")
    monkeypatch.setattr(guards, "flat", lambda config: guards.without(flat(config), added))
    return lambda: monkeypatch.setattr(guards, "flat", flat)


def rows() -> list[str]:
    return [line.split(",")[0] for line in (FOLDER / "metrics.csv").read_text().splitlines()]


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("--data.batch_size=5", "data.batch_size=7, the config says 5"),
        ("--seed_everything=3", "seed_everything=0, the config says 3"),
        ("--model.optimizer.lr=0.5", "model.optimizer.lr=0.01, the config says 0.5"),
        ("--model.max_length=8", "model.max_length=16, the config says 8"),
        ("--model.optimizer=torch.optim.SGD", "model.optimizer=torch.optim.AdamW, the config says torch.optim.SGD"),
        ("--trainer.gradient_clip_val=null", "trainer.gradient_clip_val=1.0, the config says None"),
    ],
)
def test_a_setting_that_changes_the_run_is_refused(first: list[str], zoo_command: Command, flag: str, names: str):
    code, _, complaint = zoo_command(*first, flag)
    assert code == 2
    assert names in complaint
    assert len(complaint.splitlines()) == 1


def test_a_setting_that_a_later_version_added_counts_as_its_default(
    older: Callable[[], None], first: list[str], zoo_command: Command
):
    older()
    code, _, complaint = zoo_command(*first, "--model.dropout=0.1")
    assert (code, "made with model.dropout=0.0, the config says 0.1" in complaint) == (2, True)
    assert zoo_command(*first)[0] == 0


def test_other_training_data_is_refused_and_the_same_data_elsewhere_is_not(
    first: list[str], zoo_command: Command, text_file: Path
):
    Path("other.txt").write_text("One more line.\n" + text_file.read_text())
    code, _, complaint = zoo_command(*first, "--data.train=other.txt")
    assert (code, "data.train=" in complaint) == (2, True)
    shutil.copy(text_file, "moved.txt")
    assert zoo_command(*first, "--data.train=moved.txt")[0] == 0


def test_an_allowed_learning_rate_is_applied(first: list[str], zoo_command: Command):
    flags = ["--model.schedule=constant", "--model.optimizer.lr=0.5"]
    allowed = ["--allow-change=model.optimizer.lr", "--allow-change", "model.schedule"]
    code, said, _ = zoo_command(*first, *flags, *allowed)
    assert code == 0
    assert "model.optimizer.lr: 0.01 until now, 0.5 from here." in said
    header, *lines = (FOLDER / "metrics.csv").read_text().splitlines()
    lr = [line.split(",")[header.split(",").index("train/lr")] for line in lines]
    assert lr[-2] == "0.5"


def test_an_allowed_optimizer_starts_fresh(first: list[str], zoo_command: Command):
    flags = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--allow-change=model.optimizer"]
    assert zoo_command(*first, *flags)[0] == 0
    state = checkpoint.read(run.checkpoint_of(FOLDER, "last"))["optimizer_states"][0]
    assert state["class"] == "torch.optim.sgd.SGD"
    assert not any("exp_avg" in values for values in state["state"].values())


def test_an_allowed_batch_size_is_applied(first: list[str], zoo_command: Command):
    assert zoo_command(*first, "--data.batch_size=5", "--allow-change=data.batch_size")[0] == 0
    assert rows()[1:] == ["1", "2", "3", "4", "4", "5", "6", "6"]


def test_to_go_on_needs_no_more_than_the_word(first: list[str], zoo_command: Command):
    assert zoo_command(*first)[0] == 0
    assert rows()[1:] == ["1", "2", "3", "4", "4", "5", "6", "6"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(first: list[str], zoo_command: Command):
    newest = FOLDER / "checkpoints/step=4.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    code, said, complaint = zoo_command(*first)
    assert code == 0
    assert "zoo: step=4.ckpt is damaged (checksum differs); going back to step=3.ckpt." in complaint
    assert "from step 3" in said
    assert rows()[1:] == ["1", "2", "3", "4", "5", "6", "6"]
    assert (FOLDER / "checkpoints/step=4.ckpt.damaged").is_file()


def test_with_no_whole_checkpoint_nothing_is_begun(first: list[str], zoo_command: Command):
    for path in run.checkpoints(FOLDER):
        path.write_bytes(path.read_bytes()[:-1])
    code, _, complaint = zoo_command(*first)
    assert (code, "no checkpoint is valid: step=4.ckpt" in complaint) == (65, True)


def test_a_copy_of_a_run_goes_on_elsewhere(
    first: list[str], zoo_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (there := tmp_path / "elsewhere").mkdir()
    shutil.copytree(FOLDER, there / "run")
    assert zoo_command(*first)[0] == 0
    expected = (FOLDER / "metrics.csv").read_text()
    monkeypatch.chdir(there)
    assert zoo_command("fit", "--resume", "run", "--trainer.max_steps=6", "--allow-change=trainer.max_steps")[0] == 0
    assert (there / "run/metrics.csv").read_text() == expected


def test_a_run_in_use_is_refused(first: list[str], zoo_command: Command):
    lock.Lock(FOLDER)
    code, _, complaint = zoo_command(*first)
    assert code == 75
    assert f"runs/first/1 is in use by PID {os.getpid()} since " in complaint


def test_a_run_without_a_checkpoint_starts_from_its_first_step(first: list[str], zoo_command: Command):
    shutil.rmtree(FOLDER / "checkpoints")
    (FOLDER / "metrics.json").unlink()
    code, said, _ = zoo_command(*first)
    assert (code, "it starts from its first step" in said) == (0, True)
    assert rows()[1:] == ["1", "2", "3", "4", "5", "6", "6"]


class KilledError(BaseException):
    """As after kill -9: nobody clears up."""


@pytest.mark.parametrize("stop", [KilledError, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_finished_run_that_is_trained_longer_and_stopped_goes_on(
    first: list[str], zoo_command: Command, monkeypatch: pytest.MonkeyPatch, stop: Any
):
    def stopped(task: Task, *_: Any) -> None:
        if task.global_step < 5:
            return step(task, *_)
        if stop is KilledError:
            raise KilledError
        os.kill(os.getpid(), stop)
        return step(task, *_)

    shutil.copytree(FOLDER, "undisturbed")
    assert (
        zoo_command("fit", "--resume=undisturbed", "--trainer.max_steps=8", "--allow-change=trainer.max_steps")[0] == 0
    )
    step = Task.training_step
    with monkeypatch.context() as patched, contextlib.suppress(KilledError):
        patched.setattr(Task, "training_step", stopped)
        code, _, complaint = zoo_command(
            "fit", "--resume=first", "--trainer.max_steps=8", "--allow-change=trainer.max_steps"
        )
        assert (code, "uv run zoo fit --resume runs/first/1" in complaint) == (143, True)
    assert "fit" not in run.read_metrics(FOLDER)
    code, said, _ = zoo_command("fit", "--resume=first")
    assert code == 0
    assert f"from step {5 if stop is KilledError else 6}" in said
    assert (FOLDER / "metrics.csv").read_text() == Path("undisturbed/metrics.csv").read_text()
    assert run.read_metrics(FOLDER) == run.read_metrics(Path("undisturbed"))


def test_a_kill_between_the_last_checkpoint_and_the_export_loses_nothing(first: list[str], zoo_command: Command):
    metrics = json.loads((FOLDER / "metrics.json").read_text())
    (FOLDER / "metrics.json").unlink()
    shutil.rmtree(FOLDER / "model")
    assert zoo_command("fit", "--resume")[0] == 0
    assert json.loads((FOLDER / "metrics.json").read_text()) == metrics
    assert (FOLDER / "model/model.safetensors").is_file()


def test_a_kill_between_a_checkpoint_and_its_pointer_keeps_the_best(first: list[str], zoo_command: Command):
    best = (FOLDER / "checkpoints/best").read_text()
    (FOLDER / "checkpoints/best").write_text("step=3.ckpt\n")
    (FOLDER / "checkpoints/last").write_text("step=3.ckpt\n")
    code, said, _ = zoo_command(*first)
    assert (code, "from step 4" in said) == (0, True)
    assert best == "step=4.ckpt\n"
    assert run.checkpoint_of(FOLDER, "last").name == "step=6.ckpt"
    assert run.checkpoint_of(FOLDER, "best").is_file()


def test_a_larger_network_is_refused_even_if_allowed(tiny_gpt2: Path):
    task = CausalLM(
        architecture={"model_type": "gpt2", "n_embd": 48}, vocab_size=300, optimizer=torch.optim.AdamW, max_length=16
    )
    task.data_state = {"config": {"model_type": "gpt2", "n_embd": 16}}
    with pytest.raises(ConfigError, match=r"n_embd is 48, the checkpoint's network has 16"):
        task.config()


def test_a_checkpoint_of_another_task_is_refused(first: list[str]):
    path = run.checkpoints(FOLDER)[0]
    match = r"of another network, made by zoo.tasks.causal_lm.CausalLM, while the config says small.Line"
    t = trainer(6)
    with pytest.raises(ConfigError, match=match):
        t.fit(Line(optimizer=torch.optim.AdamW), datamodule=Numbers(), ckpt_path=path)


def test_without_a_config_seed_and_batch_size_are_held_against_the_checkpoint(tmp_path: Path):
    trainer(2, folder=tmp_path).fit(Line(optimizer=torch.optim.AdamW), datamodule=Numbers())
    t = trainer(4)
    t.seed = 1
    with pytest.raises(ConfigError, match=r"seed_everything=0, data.batch_size=4, the config says 1, 6"):
        t.fit(Line(optimizer=torch.optim.AdamW), datamodule=Numbers(batch_size=6), ckpt_path=tmp_path / "step=2.ckpt")


def test_allow_change_needs_a_run_to_resume(here: Path, zoo_command: Command):
    assert zoo_command("fit", "--allow-change=data.batch_size")[0] == 2


def test_a_default_that_no_config_can_hold_stays_with_its_class(here: Path, zoo_command: Command):
    flags = ["--model=toy_pairs.ToyPhases", "--data=toy.ToyData", "--trainer.accelerator=cpu", "--name=first"]
    assert zoo_command("fit", *flags, "--trainer.max_steps=2")[0] == 0
    settings = run.settings(FOLDER)
    assert "optimizer" not in settings["model"]["init_args"]
    assert settings["model"]["init_args"]["warmup_steps"] == 0
    assert zoo_command("fit", "--resume", "first", "--trainer.max_steps=4", "--allow-change=trainer.max_steps")[0] == 0
