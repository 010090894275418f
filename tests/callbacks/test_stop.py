import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_cases import CASES

from zoo import lock, run
from zoo.task import Task
from zoo.tasks.causal_lm import CausalLM

Command = Callable[..., tuple[int, str, str]]
FOLDER = Path("runs/stopped/1")


@pytest.fixture
def flags(tiny_gpt2: Path, text_file: Path) -> list[str]:
    limits = ["--trainer.max_steps=8", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1"]
    often = ["--trainer.val_check_interval=3", "--trainer.limit_val_batches=2", "--model.dropout=0.2"]
    return [*CASES["causal_lm"](tiny_gpt2, text_file).flags, *limits, *often]


def at_call(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, number: int, what: Callable[[], Any]) -> None:
    """Do something within that call of a method."""
    inner, calls = getattr(owner, name), []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            what()
        return inner(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


def kill(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def undisturbed(zoo_command: Command, flags: list[str]) -> tuple[str, dict[str, Any]]:
    assert zoo_command("fit", *flags, "--name=undisturbed")[0] == 0
    return Path("runs/undisturbed/1/metrics.csv").read_text(), run.read_figures(Path("runs/undisturbed/1"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch, number: int, code: int
):
    at_call(monkeypatch, Task, "training_step", 2, kill(number))
    found, _, complaint = zoo_command("fit", *flags, "--name=stopped")
    assert found == code
    assert "after step 2. Go on with: uv run zoo fit --resume runs/stopped/1" in complaint
    assert [p.name for p in run.checkpoints(FOLDER)] == ["step=2.ckpt"]


@pytest.mark.parametrize(
    ("method", "call"),
    [("training_step", 1), ("training_step", 3), ("training_step", 8), ("validation_step", 3), ("validation_step", 6)],
    ids=["first step", "step before a validation", "last step", "in a validation", "in the last validation"],
)
def test_a_stopped_and_resumed_run_is_the_undisturbed_one(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch, method: str, call: int
):
    rows, figures = undisturbed(zoo_command, flags)
    with monkeypatch.context() as patched:
        at_call(patched, Task, method, call, kill(signal.SIGTERM))
        assert zoo_command("fit", *flags, "--name=stopped")[0] == 143
    assert zoo_command("fit", "--resume")[0] == 0
    assert (FOLDER / "metrics.csv").read_text() == rows
    assert run.read_figures(FOLDER) == figures


def test_a_second_signal_leaves_at_once(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch
):
    class LeftError(BaseException):
        pass

    def leave(code: int) -> None:
        raise LeftError(code)

    monkeypatch.setattr(os, "_exit", leave)
    at_call(monkeypatch, Task, "training_step", 3, lambda: (kill(signal.SIGINT)(), kill(signal.SIGINT)()))
    with pytest.raises(LeftError, match="130"):
        zoo_command("fit", *flags, "--name=stopped", "--checkpoint.every_n_steps=1")
    assert [p.name for p in run.checkpoints(FOLDER)] == ["step=2.ckpt", "step=1.ckpt"]


def test_a_signal_that_ends_the_data_workers_too_ends_no_save(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch
):
    def kill_all() -> None:
        kill(signal.SIGTERM)()
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGTERM)
            worker.join()

    at_call(monkeypatch, Task, "training_step", 2, kill_all)
    code, _, complaint = zoo_command("fit", *flags, "--name=stopped", "--data.num_workers=2")
    assert code == 143, complaint
    assert [p.name for p in run.checkpoints(FOLDER)] == ["step=2.ckpt"]


def test_before_the_first_step_a_signal_ends_the_command_where_it_is(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch
):
    at_call(monkeypatch, CausalLM, "configure_model", 1, kill(signal.SIGINT))
    code, _, complaint = zoo_command("fit", *flags, "--name=stopped")
    assert code == 130
    assert complaint.splitlines()[-1] == "zoo: stopped by SIGINT."


def test_signals_and_lock_are_given_back(
    here: Path, zoo_command: Command, flags: list[str], monkeypatch: pytest.MonkeyPatch
):
    before = signal.getsignal(signal.SIGTERM)
    at_call(monkeypatch, Task, "training_step", 2, kill(signal.SIGTERM))
    zoo_command("fit", *flags, "--name=stopped")
    assert signal.getsignal(signal.SIGTERM) is before
    lock.Lock(FOLDER).release()
