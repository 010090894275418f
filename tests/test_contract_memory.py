"""What every task keeps when memory runs out: law 1 in mid-run. A new task joins by a case in contract_cases.py."""

import csv
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import SGD, Case, precision, trained, trainer, undisturbed, weights
from lightning.pytorch import Callback
from simulated_memory import Full, Sizes, Where

from zoo.loop import checkpoint

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")


@pytest.mark.parametrize("where", ["forward", "loss", "backward"])
@pytest.mark.parametrize(("first_step", "room"), [(0, 4), (2, 3), (3, 1)])
def test_out_of_memory_does_not_change_the_training(case: Case, where: Where, first_step: int, room: int):
    full, sizes = Full(room, where, first_step), Sizes()
    disturbed = trained(case, full, sizes)
    assert full.failures[0] == (first_step, 7)
    assert sizes.seen[-1] <= room
    assert torch.allclose(disturbed, undisturbed(case), atol=1e-6)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", "fp16"])
def test_an_attempt_that_ran_out_of_memory_leaves_nothing_behind(case: Case, where: Where, name: str):
    """Bit for bit the run that had the smaller pieces from that step on; with dropout, clipping, and gradients of
    earlier pieces to be forgotten."""
    full = Full(room=1, where=where, first_step=2, last_piece=True)
    disturbed = trained_in_micro_batches(case, full, name)
    assert full.failures == [(2, 2)]
    assert torch.equal(disturbed, with_smaller_pieces_from_step_2(case, name))


def trained_in_micro_batches(case: Case, callback: Callback, name: str) -> torch.Tensor:
    of_trainer = precision(name) | {"gradient_clip_val": 0.5}
    return trained(case, callback, of_trainer=of_trainer, dropout=0.2, micro_batch_size=3)


@cache
def with_smaller_pieces_from_step_2(case: Case, name: str) -> torch.Tensor:
    return trained_in_micro_batches(case, Sizes({2: 2}), name)


def test_a_resumed_run_begins_with_the_size_that_fits(case: Case, tmp_path: Path):
    full = Full(room=4, first_step=1)
    trainer(3, folder=tmp_path, callbacks=[full]).fit(case.task(), datamodule=case.data())
    assert checkpoint.read(tmp_path / "step=3.ckpt")["zoo"]["micro_batch_size"] == 4
    resumed, again = Sizes(), Full(room=4)
    t = trainer(5, folder=tmp_path / "again", callbacks=[resumed, again])
    t.fit(case.task(), datamodule=case.data(), ckpt_path=tmp_path / "step=3.ckpt")
    assert resumed.seen == [4, 4]
    assert again.failures == []


def test_the_screen_and_metrics_csv_say_when_the_micro_batch_fell(
    case: Case, monkeypatch: pytest.MonkeyPatch, here: Path, zoo_command: Any
):
    fail_in(monkeypatch, case, "loss", room=4, first_step=2)
    code, said, _ = zoo_command(
        "fit", *case.flags, "--trainer.max_steps=4", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu"
    )
    assert code == 0
    assert "step 3: training with 7 samples at a time: CUDA out of memory" in said
    with open(here / "runs/run/1/metrics.csv", newline="") as file:
        sizes = [(row["step"], row["train/micro_batch_size"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert sizes == [("1", "7"), ("2", "7"), ("3", "4"), ("4", "4")]


def test_one_sample_that_does_not_fit_ends_with_71_and_the_last_checkpoint_whole(
    case: Case, monkeypatch: pytest.MonkeyPatch, here: Path, zoo_command: Any
):
    fail_in(monkeypatch, case, "loss", room=0, first_step=2)
    limits = ["--trainer.max_steps=4", "--checkpoint.every_n_steps=1", "--trainer.accelerator=cpu"]
    code, _, complaint = zoo_command("fit", *case.flags, *limits)
    assert code == 71
    assert "one sample at a time" in complaint
    assert "zoo fit --resume" in complaint
    assert checkpoint.read(here / "runs/run/1/checkpoints/step=2.ckpt")["zoo"]["step"] == 2
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert zoo_command("fit", "--resume")[0] == 0


def test_out_of_memory_in_the_optimizers_step_ends_with_71_and_saves_nothing_of_it(
    case: Case, monkeypatch: pytest.MonkeyPatch, here: Path, zoo_command: Any
):
    plain = torch.optim.AdamW.step

    def half_a_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        first = self.param_groups[0]["params"][0]
        if first in self.state and self.state[first]["step"] >= 2:
            first.data.zero_()
            raise OUT_OF_MEMORY
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", half_a_step)
    limits = ["--trainer.max_steps=4", "--checkpoint.every_n_steps=1", "--trainer.accelerator=cpu"]
    code, _, complaint = zoo_command("fit", *case.flags, *limits)
    assert code == 71
    assert "the optimizer's step" in complaint
    saved = sorted(path.name for path in (here / "runs/run/1/checkpoints").glob("*.ckpt"))
    assert saved == ["step=1.ckpt", "step=2.ckpt"]
    assert checkpoint.read(here / "runs/run/1/checkpoints/step=2.ckpt")["zoo"]["step"] == 2


def test_out_of_memory_outside_of_a_step_has_the_same_exit_code(
    case: Case, monkeypatch: pytest.MonkeyPatch, here: Path, zoo_command: Any
):
    def configure_model(self: Any) -> None:
        raise OUT_OF_MEMORY

    monkeypatch.setattr(case.task_class, "configure_model", configure_model)
    code, _, complaint = zoo_command("fit", *case.flags, "--trainer.max_steps=1", "--trainer.accelerator=cpu")
    assert code == 71
    assert "a smaller network" in complaint


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_out_of_memory_in_evaluation_changes_no_metric(case: Case, monkeypatch: pytest.MonkeyPatch, stage: str):
    def measured() -> dict[str, float]:
        task = case.task()
        getattr(trainer(0), stage)(task, datamodule=case.data(), verbose=False)
        return task.last_metrics

    whole = measured()
    attempts = fail_in(monkeypatch, case, "evaluate", room=2)
    assert measured() == pytest.approx(whole, rel=1e-6)
    assert attempts.count(9) == 1  # what has failed is not tried again with the next batch


def test_out_of_memory_in_prediction_changes_no_prediction(case: Case, monkeypatch: pytest.MonkeyPatch):
    if not case.inputs:
        pytest.skip("the case names no inputs")
    task = case.task(**case.exact)
    trainer(0).fit(task, datamodule=case.data())
    whole = task.predict(case.inputs)
    tried = fail_in(monkeypatch, case, "predict_batch", room=1)
    assert task.predict(case.inputs) == whole
    assert tried == [3, 2, 1, 1, 1]


def fail_in(monkeypatch: pytest.MonkeyPatch, case: Case, method: str, room: int, first_step: int = 0) -> list[int]:
    """Make a method of the task's class run out of memory with more than `room` samples; returns the sizes tried."""
    from zoo.loop import microbatch

    owner, tried = case.task_class, []
    plain = getattr(owner, method)

    def failing(self: Any, batch: Any) -> Any:
        tried.append(microbatch.batch_length(batch))
        training = method != "loss" or torch.is_grad_enabled()
        if tried[-1] > room and training and self.global_step >= first_step:
            raise OUT_OF_MEMORY
        return plain(self, batch)

    monkeypatch.setattr(owner, method, failing)
    return tried


def test_gradient_checkpointing_does_not_change_the_training(case: Case):
    """With dropout (its masks are drawn again) and with the first half of the network frozen."""

    def half_trained(checkpointing: bool) -> tuple[torch.Tensor, int]:
        class Watch(Callback):
            calls = 0

            def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
                for module in pl_module.network.modules():
                    module.register_forward_pre_hook(self.count)

            def count(self, *_: Any) -> None:
                self.calls += 1

        def configure_model(self: Any) -> None:
            super(type(self), self).configure_model()
            parameters = [*self.network.parameters()]
            for p in parameters[: len(parameters) // 2]:
                p.requires_grad = False

        half = case.subclassed(configure_model=configure_model)
        watch, task = Watch(), half.task(optimizer=SGD, dropout=0.2, gradient_checkpointing=checkpointing)
        trainer(3, callbacks=[watch], limit_val_batches=0).fit(task, datamodule=case.data())
        return weights(task), watch.calls

    (plain, once), (checkpointed, twice) = half_trained(False), half_trained(True)
    assert torch.allclose(plain, checkpointed, atol=1e-6)
    assert twice > once  # the blocks run again in the backward pass; how much of a network they are differs
