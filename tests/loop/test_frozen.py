"""What is wholly frozen stays in evaluation, and is in no checkpoint."""

from pathlib import Path
from typing import Any

import torch
from contract_cases import trainer, weights
from lightning.pytorch import Callback
from torch import nn
from toy import Toy, ToyData

from zoo.loop import checkpoint


class Quantised(nn.Linear):
    """As bitsandbytes' layers, it saves more than its weight."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight.absmax"] = torch.ones(1)


def half_frozen() -> Toy:
    body = nn.Sequential(Quantised(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    task = Toy([body, nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1)])
    body.requires_grad_(False)
    task.network[3].bias.requires_grad_(False)
    return task


class Modes(Callback):
    """Which modules train, in every step."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, ...]] = set()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.seen.add(tuple(name for name, module in pl_module.network.named_modules() if module.training))


def test_wholly_frozen_modules_stay_in_evaluation_and_all_others_train():
    modes, task = Modes(), half_frozen()
    before = task.network[0][1].running_mean.clone()
    trainer(4, callbacks=[modes], val_check_interval=2).fit(task, datamodule=ToyData())
    assert modes.seen == {("", "1", "2", "3")}
    assert torch.equal(task.network[0][1].running_mean, before)
    assert not torch.equal(task.network[2].running_mean, torch.zeros(4))


def test_a_checkpoint_has_nothing_of_what_is_below_a_wholly_frozen_module(tmp_path: Path):
    trainer(2, folder=tmp_path).fit(half_frozen(), datamodule=ToyData())
    content = checkpoint.read(tmp_path / "step=2.ckpt")
    names = {"2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked", "3.weight"}
    assert set(content["state_dict"]) == {f"network.{name}" for name in names}
    assert content["zoo"]["is_whole"] is False


def test_a_checkpoint_of_a_network_that_is_all_trained_is_whole(tmp_path: Path):
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)]
    trainer(1, folder=tmp_path).fit(Toy(layers), datamodule=ToyData())
    assert checkpoint.read(tmp_path / "step=1.ckpt")["zoo"]["is_whole"] is True


def test_a_run_with_frozen_parts_resumes_bit_for_bit(tmp_path: Path):
    whole, again = half_frozen(), half_frozen()
    trainer(5, folder=tmp_path).fit(whole, datamodule=ToyData())
    t = trainer(5, folder=tmp_path / "again")
    t.fit(again, datamodule=ToyData(), ckpt_path=tmp_path / "step=3.ckpt")
    assert torch.equal(weights(whole), weights(again))
