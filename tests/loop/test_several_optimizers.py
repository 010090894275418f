"""The batch is the clock: a task with several optimizers has one step a batch, and keeps the laws."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import trainer, weights
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from toy import Toy, ToyData
from toy_pairs import PAIRS, SGD, Rows, ToyGAN, ToyPhases

import zoo
from zoo.loop import checkpoint
from zoo.runs import run

STEPS = 11


@pytest.fixture(params=list(PAIRS))
def pair(request: pytest.FixtureRequest) -> type[Toy]:
    return PAIRS[request.param]


def trained(task: Toy, steps: int = STEPS, *callbacks: Any, **of_trainer: Any) -> torch.Tensor:
    t = trainer(steps, callbacks=[*callbacks], limit_val_batches=0, **of_trainer)
    t.fit(task, datamodule=ToyData())
    assert t.global_step == steps
    return weights(task)


def test_a_step_is_a_batch_for_order_rate_totals_loggers_and_checkpoints(pair: type[Toy], tmp_path: Path):
    rows, task = Rows(), pair(warmup_steps=2)
    batches = []
    prepare = task.prepare
    task.prepare = lambda batch, draws, split: batches.append(batch["index"]) or prepare(batch, draws, split)  # type: ignore[method-assign]
    t = trainer(max_epochs=3, folder=tmp_path, limit_val_batches=0, logger=rows, log_every_n_steps=1)
    t.fit(task, datamodule=ToyData())
    assert (t.total_steps, t.global_step) == (9, 9)
    order = t.train_dataloader.batch_sampler
    assert batches == [[sample for _, sample in order.batch(step)] for step in range(9)]
    assert list(rows.of) == list(range(1, 10))
    assert [row["train/lr"] for row in rows.of.values()] == pytest.approx(
        [0.01 * task.lr_factor(step, 9) for step in range(9)]
    )
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {f"step={step}.ckpt" for step in range(1, 10)}


@pytest.mark.parametrize("size", [1, 3, 5])
def test_micro_batches_train_as_the_whole_batch_does(size: int):
    for pair in (lambda **kw: without_dropout(ToyGAN(**kw)), ToyPhases):
        whole = trained(pair(optimizer=SGD))
        assert (whole - trained(pair(optimizer=SGD), 0)).abs().max() > 1e-2
        assert torch.allclose(trained(pair(optimizer=SGD, micro_batch_size=size)), whole, atol=1e-6)


def without_dropout(task: Toy) -> Toy:
    for module in task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return task


def test_one_optimizers_step_leaves_the_other_ones_part_alone():
    task = ToyPhases()
    before = task.network[1].weight.clone()
    trained(task, 2)
    assert torch.equal(task.network[1].weight, before)
    assert task.network[1].weight.grad is None
    assert all(p.requires_grad for p in task.parameters())


def test_the_gan_is_trained_as_a_loop_written_out_trains_it():
    task = without_dropout(ToyGAN(optimizer=SGD, schedule="constant"))
    batches: list[Any] = []
    step = task.training_step
    task.training_step = lambda batch, batch_idx: batches.append(batch) or step(batch, batch_idx)  # type: ignore[method-assign]
    found = trained(task, 4, gradient_clip_val=None)
    reference = without_dropout(ToyGAN(optimizer=SGD))
    for number, batch in enumerate(batches):
        for loss, part in [(reference.critic_loss, reference.critic)] + [(reference.loss, reference.network)] * (
            number % 2
        ):
            total, count = loss(batch)
            parameters = [*part.parameters()]
            for p, gradient in zip(parameters, torch.autograd.grad(total / count, parameters), strict=True):
                p.data -= 0.05 * gradient
    assert torch.allclose(found, weights(reference), atol=1e-6)


def test_a_run_resumes_bit_for_bit_from_every_step(pair: type[Toy], tmp_path: Path):
    task = pair()
    trainer(STEPS, folder=tmp_path, limit_val_batches=0).fit(task, datamodule=ToyData())
    assert len(checkpoint.read(tmp_path / "step=5.ckpt")["optimizer_states"]) == 2
    for step in range(1, STEPS):
        again, rows = pair(), Rows()
        t = trainer(STEPS, folder=tmp_path / "again", limit_val_batches=0, logger=rows, log_every_n_steps=1)
        t.fit(again, datamodule=ToyData(), ckpt_path=tmp_path / f"step={step}.ckpt")
        assert torch.equal(weights(again), weights(task))
        assert list(rows.of) == list(range(step + 1, STEPS + 1))


KILLED = """
import os, signal
from pathlib import Path
from toy_pairs import ToyGAN, ToyPhases

class Killed:
    def descend(self, *args, **kwargs):
        means = super().descend(*args, **kwargs)
        if self.global_step == 5 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return means

class GAN(Killed, ToyGAN): ...
class Phases(Killed, ToyPhases): ...
"""


@pytest.mark.parametrize("name", ["GAN", "Phases"])
def test_a_run_that_is_killed_between_two_optimizers_goes_on_as_if_it_had_not_been(
    name: str, here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    """Of step 6 the critic has made its step, the generator has not; the last checkpoint is that of step 3."""
    (here / "killed.py").write_text(KILLED)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "killed", raising=False)
    flags = ["fit", f"--model=killed.{name}", "--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    flags += ["--data=toy.ToyData", "--trainer.max_steps=11", "--trainer.accelerator=cpu"]
    flags += ["--trainer.precision=32-true", "--trainer.log_every_n_steps=1", "--checkpoint.every_n_steps=4"]
    paths = {"PYTHONPATH": os.pathsep.join(path for path in [str(here), *sys.path] if path)}
    done = subprocess.run([sys.executable, "-m", "zoo", *flags, "--name=killed"], env=os.environ | paths, check=False)
    assert done.returncode == -signal.SIGKILL
    killed, whole = Path("runs/killed/1"), Path("runs/whole/1")
    assert max(run.step_of(path) for path in run.checkpoints(killed)) == 3
    assert zoo_command("fit", "--resume=runs/killed/1")[0] == 0
    assert zoo_command(*flags, "--name=whole")[0] == 0
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    found, expected = (checkpoint.read(run.checkpoint_of(folder, "last")) for folder in (killed, whole))
    assert found["zoo"]["step"] == expected["zoo"]["step"] == 11
    for mine, theirs in zip(tensors(found), tensors(expected), strict=True):
        assert torch.equal(mine, theirs)


def tensors(content: Any) -> list[torch.Tensor]:
    """All that a checkpoint holds, with the state of the optimizers."""
    if isinstance(content, torch.Tensor):
        return [content]
    inside = content.values() if isinstance(content, dict) else content if isinstance(content, (list, tuple)) else []
    return [tensor for one in inside for tensor in tensors(one)]


class FailsWith(zoo.Task):
    """Mixed into a task: more than `room` samples run out of memory from step 3 on, once the loss is there."""

    room = 3

    def _limited(self, result: Any) -> Any:
        if result[1] > self.room and self.global_step >= 3 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return result


class FullGAN(ToyGAN, FailsWith):
    def loss(self, batch: Any) -> Any:  # the critic's step of the same batch is done already
        return self._limited(super().loss(batch))


class FullPhases(ToyPhases, FailsWith):
    def loss(self, batch: Any) -> Any:
        return self._limited(super().loss(batch))


@pytest.mark.parametrize(("full", "pair"), [(FullGAN, ToyGAN), (FullPhases, ToyPhases)])
def test_out_of_memory_does_not_change_the_training(full: type[Toy], pair: type[Toy]):
    disturbed = without_dropout(full(optimizer=SGD))
    found = trained(disturbed)
    assert disturbed.micro_batch_size == 2
    assert torch.allclose(found, trained(without_dropout(pair(optimizer=SGD))), atol=1e-6)


def test_a_probe_changes_nothing_of_the_training(pair: type[Toy]):
    assert torch.equal(trained(pair(), vram="100GB"), trained(pair()))


def test_a_probe_tries_the_steps_of_all_optimizers():
    seen: list[int] = []

    class Watched(ToyGAN):
        def critic_loss(self, batch: Any) -> Any:
            seen.append(len(batch["x"]))
            return super().critic_loss(batch)

    trained(Watched(), 0, vram="100GB")
    assert seen[-2:] == [8, 8]


def test_a_step_that_is_not_finite_is_left_out_of_the_optimizer_that_took_it(capsys: pytest.CaptureFixture[str]):
    class Breaks(ToyGAN):
        def critic_loss(self, batch: Any) -> Any:
            total, count = super().critic_loss(batch)
            return (total * float("nan") if self.global_step == 3 else total), count

    task = Breaks()
    trained(task)
    assert weights(task).isfinite().all()
    assert "step 4 skipped" in capsys.readouterr().err


def test_each_optimizer_is_scaled_unscaled_and_clipped_under_fp16(pair: type[Toy]):
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    task, plain = without_dropout(pair(optimizer=SGD)), without_dropout(pair(optimizer=SGD))
    half, whole = trained(task, plugins=[plugin]), trained(plain)
    assert (half - whole).norm() < 0.02 * (whole - trained(pair(optimizer=SGD), 0)).norm()


def test_the_loop_state_names_what_lightning_reads():
    """`_batches_that_stepped` is what loggers get as their step where none is logged: no public way sets it."""
    state = trainer(1).fit_loop.state_dict()
    assert state["epoch_loop.state_dict"].keys() == {"_batches_that_stepped"}
    assert "processed" in state["epoch_loop.batch_progress"]["total"]
