"""The smallest task: layers of one's choice fitted to random numbers. For what no real network has."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo

Optimizer = Callable[[Iterable], torch.optim.Optimizer]
SGD = partial(torch.optim.SGD, lr=0.05)


class Rows(zoo.Processor):
    def encode(self, samples: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"x": x, "y": y} for x, y in samples]

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {name: torch.stack([item[name] for item in items]) for name in ("x", "y")}


class Toy(zoo.Task):
    """Least squares; `layers` from 3 numbers to 1."""

    def __init__(self, layers: Sequence[nn.Module], optimizer: Optimizer = SGD, **kwargs: Any):
        super().__init__(optimizer=optimizer, **kwargs)
        torch.manual_seed(0)
        for layer in layers:
            for p in layer.parameters():
                nn.init.uniform_(p, -0.5, 0.5)
        self.network = nn.Sequential(*layers)

    def processor(self, split: Any) -> Rows:
        return Rows()

    def loss(self, batch: dict[str, Any]) -> Any:
        return (self.network(batch["x"]).float() - batch["y"]).square().sum(), len(batch["x"])

    def example_batch(self, n: int) -> dict[str, Any]:
        return {"x": torch.ones(n, 3), "y": torch.ones(n, 1)}

    def save_model(self, folder: Path) -> None:
        torch.save(self.state_dict(), folder / "model.pt")


def wide(numbers: int = 2**16, **kwargs: Any) -> Toy:
    """Activations of 32 bytes a number for each sample (2 MiB), several times over, beside some bytes of weights."""
    layers = [nn.Linear(3, 8), nn.Unflatten(1, (8, 1)), Spread(numbers), nn.ReLU(), nn.Flatten(), Mean()]
    return Toy(layers, **kwargs)


class Spread(nn.Module):
    def __init__(self, numbers: int):
        super().__init__()
        self.numbers = numbers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.linspace(0, 1, self.numbers, device=x.device)  # [B, 8, numbers]


class Counts(nn.Module):
    """Its buffer changes with every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True)


class ToyData(zoo.DataModule):
    """24 samples in batches of 8."""

    def __init__(self, batch_size: int = 8, **kwargs: Any):
        super().__init__(batch_size=batch_size, **kwargs)

    def samples(self, split: Any) -> Any:
        generator = torch.Generator().manual_seed(0)
        return [tuple(torch.randn(3 + 1, generator=generator).split([3, 1])) for _ in range(24)]
