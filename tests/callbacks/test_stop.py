import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import CASES

from zoo.__main__ import main
from zoo.loop import checkpoint
from zoo.runs import lock, run
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
    return Path("runs/undisturbed/1/metrics.csv").read_text(), run.read_metrics(Path("runs/undisturbed/1"))


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
    rows, metrics = undisturbed(zoo_command, flags)
    with monkeypatch.context() as patched:
        at_call(patched, Task, method, call, kill(signal.SIGTERM))
        assert zoo_command("fit", *flags, "--name=stopped")[0] == 143
    assert zoo_command("fit", "--resume")[0] == 0
    assert (FOLDER / "metrics.csv").read_text() == rows
    assert run.read_metrics(FOLDER) == metrics


HOOKS = {  # a hook, and in which of its calls a run of eight steps with a validation after every third gets the signal
    "on_fit_start": 1,
    "on_sanity_check_start": 1,
    "on_sanity_check_end": 1,
    "on_train_start": 1,
    "on_train_epoch_start": 1,
    "on_train_batch_start": 4,
    "on_before_backward": 4,
    "on_after_backward": 4,
    "on_before_optimizer_step": 4,
    "on_train_batch_end": 3,
    "on_validation_start": 2,
    "on_validation_epoch_start": 2,
    "on_validation_batch_start": 3,
    "on_validation_batch_end": 3,
    "on_validation_epoch_end": 2,
    "on_validation_end": 2,
    "on_save_checkpoint": 1,
    "on_train_epoch_end": 1,
    "on_train_end": 1,
    "on_fit_end": 1,
    "teardown": 1,
}
DECISIVE = ("on_after_backward", "on_train_batch_end", "on_validation_start", "on_validation_end", "on_save_checkpoint")
"""Where something is in another state than before and after: these for every task, the rest for one."""
FIRST, *OTHERS = CASES
SIGNALLED = """
import os, signal
from pathlib import Path
from lightning.pytorch import Callback

class Signalled(Callback):
    def __init__(self, hook: str = "", call: int = 0):
        calls = []
        def kill(*args, **kwargs):
            calls.append(1)
            if len(calls) == call and not Path("signalled").exists():
                Path("signalled").touch()
                os.kill(os.getpid(), signal.SIGTERM)
        if hook:
            setattr(self, hook, kill)
"""


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path, text_file: Path) -> dict[str, list[str]]:
    """Flags of a run with averaged weights for each task, and a folder where each has run undisturbed."""
    limits = ["--trainer.max_steps=8", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1"]
    limits += ["--trainer.val_check_interval=3", "--trainer.limit_val_batches=2", "--model.dropout=0.2"]
    limits += ["--trainer.callbacks=[{class_path: zoo.EMA, init_args: {decay: 0.5}}]"]
    flags, home = {}, Path.cwd()
    os.chdir(tmp_path_factory.mktemp("undisturbed"))
    try:
        for task, case in CASES.items():
            flags[task] = [*case(tiny_gpt2, text_file).flags, *limits]
            assert main(["fit", *flags[task], f"--name={task}"]) == 0
        return flags | {"folder": [str(Path.cwd())]}
    finally:
        os.chdir(home)


@pytest.mark.parametrize(("task", "hook"), [*itertools.product([FIRST], HOOKS), *itertools.product(OTHERS, DECISIVE)])
def test_a_signal_in_any_hook_leaves_weights_and_averages_as_they_would_have_been(
    here: Path,
    zoo_command: Command,
    averaged: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    hook: str,
):
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "signalled", raising=False)
    Path("signalled.py").write_text(SIGNALLED)
    wanted = Path(*averaged["folder"], "runs", task, "1")
    signalled = f"{{class_path: signalled.Signalled, init_args: {{hook: {hook}, call: {HOOKS[hook]}}}}}"
    assert zoo_command("fit", *averaged[task], "--name=stopped", f"--trainer.callbacks+={signalled}")[0] == 143
    assert Path("signalled").exists()
    code, _, complaint = zoo_command("fit", "--resume=stopped")
    assert (code, complaint) == (0, "")
    assert (FOLDER / "metrics.csv").read_text() == (wanted / "metrics.csv").read_text()
    assert run.read_metrics(FOLDER) == run.read_metrics(wanted)
    found, expected = (checkpoint.read(run.checkpoint_of(folder, "last")) for folder in (FOLDER, wanted))
    for part in ("state_dict", "averaged"):
        assert found[part].keys() == expected[part].keys()
        assert all(torch.equal(tensor, found[part][name]) for name, tensor in expected[part].items())


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


DEAF = """
import hashlib
from zoo.runs.signals import Signals
with Signals() as signals:
    signals.deferred = True
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # one call that does not return, as one that waits for a process
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_process_that_waits_for_another_hears_signals_all_the_same():
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout and child.stderr  # noqa: PT018
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        while "SIGTERM: " not in (line := child.stderr.readline()):  # it may just have had time to take note of it
            assert line
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 143
    finally:
        child.kill()
        child.communicate()
