"""What every task keeps. A new task joins by a case in contract_cases.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import ADAMW, CASES, Case, precision, trained, trainer, undisturbed, weights
from lightning.pytorch import Callback

import zoo
from zoo.loop import microbatch
from zoo.samples import INDEX


class Losses(Callback):
    """Every training loss by its step, to the last bit."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.of[trainer.global_step] = float(trainer.callback_metrics["train/loss"]).hex()


# Law 1: a loader batch is one optimizer step ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5])
def test_micro_batches_train_as_the_whole_batch_does(case: Case, size: int):
    whole, pieces = undisturbed(case), trained(case, micro_batch_size=size)
    assert (whole - undisturbed(case, steps=0)).abs().max() > 1e-2
    assert torch.allclose(pieces, whole, atol=1e-6)


def test_the_gradient_of_micro_batches_is_that_of_the_whole_batch_under_fp16_and_clipping(case: Case):
    def in_fp16(**settings: Any) -> torch.Tensor:
        return trained(case, of_trainer=precision("fp16") | {"gradient_clip_val": 0.5}, **settings)

    whole, pieces, start = in_fp16(), in_fp16(micro_batch_size=3), undisturbed(case, steps=0)
    assert (pieces - whole).norm() < 0.02 * (whole - start).norm()  # half precision rounds; the update is the same


def test_with_dropout_a_micro_batch_size_is_reproducible(case: Case):
    settings = {"micro_batch_size": 3, "dropout": 0.3, "optimizer": ADAMW}
    assert torch.equal(trained(case, **settings), trained(case, **settings))


def test_dropout_is_on_in_training_and_off_in_evaluation(case: Case):
    """Also where the library hands a pretrained network over in eval mode."""
    assert not torch.equal(trained(case, steps=1, dropout=0.5), undisturbed(case, steps=1, dropout=0.0))
    task, _ = prepared(case, dropout=0.5)
    batch = task.prepared(task.example_batch(3), "validation")
    assert torch.equal(task.loss(batch)[0], task.loss(batch)[0])


def test_with_dropout_every_step_and_piece_draws_its_own_masks(case: Case):
    draws: list[float] = []

    class Watch(Callback):
        def on_after_backward(self, *_: Any) -> None:
            draws.append(torch.rand(1).item())

    task = case.task(micro_batch_size=4, dropout=0.3)
    trainer(3, callbacks=[Watch()]).fit(task, datamodule=case.data())
    assert len(draws) == 6
    assert len(set(draws)) == 6


# Law 2: a loss is (sum, count) -----------------------------------------------------------------------------------


def test_padding_does_not_change_the_loss(case: Case):
    task, items = prepared(case)
    processor = task.processor("train")
    short, long = items[len(items) - 1], items[0]

    def loss(*numbered: tuple[int, Any]) -> Any:
        batch = {**processor.collate([item for _, item in numbered]), INDEX: [i for i, _ in numbered]}
        return microbatch.named(task.loss(task.prepared(batch, "validation")))["loss"]

    together, apart = loss((0, short), (1, long)), [loss((0, short)), loss((1, long))]
    assert together[1] == sum(count for _, count in apart)
    assert torch.allclose(together[0], torch.stack([total for total, _ in apart]).sum(), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_the_validation_loss_does_not_depend_on_the_batch_size(case: Case, size: int):
    def measured(eval_batch_size: int) -> float:
        task = case.task()
        trainer(0).validate(task, datamodule=case.data(eval_batch_size=eval_batch_size), verbose=False)
        return task.last_metrics["loss"]

    assert measured(size) == pytest.approx(measured(9), rel=1e-6)


# Law 3: what step k sees is a function of (seed, k) --------------------------------------------------------------


def test_a_run_resumes_bit_for_bit_from_every_step(case: Case, tmp_path: Path):
    """Dropout on, other workers, within and at the end of an epoch, and with both limits set."""
    limits = {"max_epochs": 3, "limit_train_batches": 4}
    data, settings = {"num_workers": 2}, {"dropout": 0.2, "micro_batch_size": 4}
    undisturbed = Losses()
    task = case.task(**settings)
    trainer(11, folder=tmp_path, callbacks=[undisturbed], **limits).fit(task, datamodule=case.data())
    assert list(undisturbed.of) == list(range(1, 12))
    for step in (1, 3, 4, 5, 8, 10):
        resumed, again = Losses(), case.task(**settings)
        t = trainer(11, folder=tmp_path / "again", callbacks=[resumed], **limits)
        t.fit(again, datamodule=case.data(**data if step == 5 else {}), ckpt_path=tmp_path / f"step={step}.ckpt")
        assert resumed.of == {k: v for k, v in undisturbed.of.items() if k > step}
        assert torch.equal(weights(again), weights(task))


def test_another_seed_trains_otherwise(case: Case):
    def with_seed(seed: int) -> torch.Tensor:
        task, t = case.task(), trainer(3)
        t.seed = seed
        t.fit(task, datamodule=case.data())
        return weights(task)

    assert torch.equal(with_seed(1), with_seed(1))
    assert not torch.equal(with_seed(1), with_seed(2))


def test_an_epoch_sees_every_sample_once(case: Case):
    seen: list[int] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            order = trainer.train_dataloader.batch_sampler
            seen.extend(sample for _, sample in order.batch(trainer.global_step))

    data = case.data()
    trainer(max_epochs=2, callbacks=[Watch()], limit_val_batches=0).fit(case.task(), datamodule=data)
    count = len(data.items["train"])
    assert sorted(seen[:count]) == sorted(seen[count:]) == list(range(count))
    assert seen[:count] != seen[count:]


# The rest of the contract ----------------------------------------------------------------------------------------


def test_a_task_overfits_one_batch(case: Case):
    losses = Losses()
    # as many windows as a batch has, so that every step sees the same samples
    data = case.data(batch_size=100_000)
    trainer(60, callbacks=[losses], limit_val_batches=0).fit(case.task(**case.calm), datamodule=data)
    first, last = float.fromhex(losses.of[1]), float.fromhex(losses.of[60])
    assert last < 0.4 * first


def test_no_real_batch_is_larger_than_the_example_batch(case: Case):
    task, items = prepared(case)
    processor = task.processor("train")
    real = processor.collate([processor.augment(items[i], torch.Generator()) for i in range(5)])
    example = task.example_batch(5)
    assert real.keys() <= example.keys()
    for name, tensor in ((name, value) for name, value in real.items() if isinstance(value, torch.Tensor)):
        assert all(r <= e for r, e in zip(tensor.shape, example[name].shape, strict=True))
        assert tensor.dtype == example[name].dtype


def test_the_example_batch_has_a_loss(case: Case):
    task, _ = prepared(case)
    total, count = microbatch.named(task.loss(task.prepared(task.example_batch(2), "train")))["loss"]
    assert total.isfinite()
    assert count > 0


def test_a_run_is_tested_and_asked_for_predictions(case: Case, here: Path, zoo_command: Any):
    limits = ["--trainer.max_steps=3", "--trainer.accelerator=cpu", "--name=case"]
    code, said, _ = zoo_command("fit", *case.flags, *limits)
    assert code == 0
    assert "runs/case/1" in said
    code, said, _ = zoo_command("test")
    assert code == 0
    metrics = json.loads((here / "runs/case/1/metrics.json").read_text())
    assert metrics["test"]["metrics"]["loss"] > 0
    assert metrics["test"]["eval_settings"]["weights"].endswith("step=3.ckpt")
    code, said, _ = zoo_command("predict", *case.prediction)
    assert code == 0
    assert len((here / "runs/case/1/predictions.jsonl").read_text().splitlines()) == 1


def test_a_stranger_subclasses_in_a_few_lines(case: Case):
    def loss(self: zoo.Task, batch: dict[str, Any]) -> Any:
        total, count = super(type(self), self).loss(batch)
        return 2 * total, count

    task = case.subclassed(loss=loss).task()
    losses, plain = Losses(), Losses()
    trainer(1, callbacks=[losses]).fit(task, datamodule=case.data())
    trainer(1, callbacks=[plain]).fit(case.task(), datamodule=case.data())
    assert float.fromhex(losses.of[1]) == pytest.approx(2 * float.fromhex(plain.of[1]))


def test_the_docstring_of_a_task_names_what_is_in_its_batch(case: Case):
    task, items = prepared(case)
    processor = task.processor("train")
    items = [processor.augment(items[i], torch.Generator()) for i in range(3)]
    batch = task.trim(task.prepared(processor.collate(items), "train"))
    documented = set(re.findall(r"`(\w+)`", str(type(task).__doc__).partition("Args:")[0]))
    assert batch.keys() - {INDEX} <= documented


def prepared(case: Case, **settings: Any) -> tuple[zoo.Task, Any]:
    """A task with its network in eval mode, and its training items."""
    task, data = case.task(**settings), case.data()
    t = trainer(0)
    t.fit(task, datamodule=data)
    return task.eval(), data.items["train"]


def test_every_task_has_a_case():
    assert {name.partition("__")[0] for name in CASES} == {
        path.stem for path in (Path(zoo.__file__).parent / "tasks").glob("[!_]*.py")
    }
