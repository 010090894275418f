"""A task so small that a test can look at every number: a line through points, with a norm that keeps statistics."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

import zoo
from zoo.samples import Batch, Item, Split

SGD = partial(torch.optim.SGD, lr=0.01)
COUNT = 24


class Line(zoo.Task):
    sample_type = tuple

    def processor(self, split: Split) -> zoo.Processor:
        return Points()

    def configure_model(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def loss(self, batch: Batch) -> Any:
        if len(batch["x"]) == 1:
            self.network[1].eval()  # a norm over one sample is none
        error = self.network(batch["x"])[:, 0] - batch["y"]
        self.network[1].train()
        return error.square().sum(), len(error)


class Points(zoo.Processor):
    def encode(self, samples: Sequence[Any]) -> list[Item]:
        return [{"x": torch.tensor(x), "y": torch.tensor(y)} for x, y in samples]

    def collate(self, items: Sequence[Item]) -> Batch:
        return {name: torch.stack([item[name] for item in items]) for name in ("x", "y")}


class Numbers(zoo.DataModule):
    """Points on a plane; those of `bad` have one coordinate that is `what`."""

    def __init__(self, bad: Sequence[int] = (), what: float = float("nan"), **kwargs: Any):
        super().__init__(**{"batch_size": 4, **kwargs})
        self.bad, self.what = bad, what

    def samples(self, split: Split) -> list[tuple[list[float], float]]:
        points = [[float(i % 3), float(i % 5), 1.0] for i in range(COUNT)]
        bad = self.bad if split == "train" else ()
        return [([self.what, *x[1:]] if i in bad else x, sum(x)) for i, x in enumerate(points)]
