"""Toy tasks with two optimizers: a GAN whose critic learns oftener than its generator, and one of two phases."""

from functools import partial
from typing import Any

import torch
from lightning.pytorch.loggers.logger import Logger
from torch import nn
from toy import Optimizer, Toy

SGD = partial(torch.optim.SGD, lr=0.05)
ADAMW = partial(torch.optim.AdamW, lr=0.01)


class ToyGAN(Toy):
    """The generator makes 3 numbers of 2 random ones, the critic tells them from data. It is trained on every batch,
    the generator on every second one: 0, 1 or 2 steps of an optimizer for one of the run."""

    def __init__(self, optimizer: Optimizer = ADAMW, **kwargs: Any):
        super().__init__([nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)], optimizer=optimizer, **kwargs)
        torch.manual_seed(1)
        self.critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))

    def configure_optimizers(self) -> Any:
        return [self.optimizer_for(self.network), self.optimizer_for(self.critic)]

    def prepare(self, batch: Any, draws: Any, split: Any) -> Any:
        return {**batch, "z": draws.each(lambda stream: torch.randn(2, generator=stream))}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        generator, critic = self.optimizers()
        self.log("train/critic", self.descend(batch, self.critic_loss, critic)["loss"], batch_size=1)
        if self.global_step % 2:
            self.log("train/loss", self.descend(batch, self.loss, generator)["loss"], batch_size=1)

    def critic_loss(self, batch: Any) -> Any:
        made = self.critic(self.network(batch["z"]))
        real = self.critic(batch["x"])
        return (nn.functional.softplus(made) + nn.functional.softplus(-real)).float().sum(), len(made)

    def loss(self, batch: Any) -> Any:
        made = self.critic(self.network(batch["z"]))
        return nn.functional.softplus(-made).float().sum(), len(made)


class ToyPhases(Toy):
    """The first layer is trained on two batches, then the second one on two; every fifth batch trains neither."""

    def __init__(self, optimizer: Optimizer = ADAMW, **kwargs: Any):
        super().__init__([nn.Linear(3, 4), nn.Linear(4, 1)], optimizer=optimizer, **kwargs)

    def configure_optimizers(self) -> Any:
        return [self.optimizer_for(layer) for layer in self.network]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        phase = self.global_step % 5
        if phase < 4:
            means = self.descend(batch, self.loss, self.optimizers()[phase // 2])
            self.log("train/loss", means["loss"], batch_size=1)


PAIRS = {"gan": ToyGAN, "phases": ToyPhases}


class Rows(Logger):
    """What is logged, by step."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.of.setdefault(int(step or 0), {}).update(metrics)
