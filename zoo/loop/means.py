"""Exact means of an evaluation: sums and counts, never means of means."""

from typing import Any

import torch
from torch import Tensor

from zoo.loop import microbatch, ranks
from zoo.loop.microbatch import Loss


class ExactMeans:
    """Named sums over an evaluation and how many targets each is over, added up in 64 bits (32 on Apple's devices).

    A sum may have any shape: a confusion matrix is one too.
    """

    def __init__(self) -> None:
        self._totals: dict[str, list[Tensor]] = {}

    def add(self, loss: Loss, device: torch.device) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64
        for name, pair in microbatch.named(loss).items():
            fresh = [torch.as_tensor(x, device=device).detach().to(exact) for x in pair]
            known = self._totals.setdefault(name, [torch.zeros_like(x) for x in fresh])
            known[0] += fresh[0]
            known[1] += fresh[1]

    def over_all_processes(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Means (numbers, or tensors where the sum has a shape) and counts by name."""
        everyone = ranks.gather({name: (s.cpu(), c.item()) for name, (s, c) in self._totals.items()})
        names = {name: None for theirs in everyone for name in theirs}
        sums, counts = (
            {name: sum(theirs[name][i] for theirs in everyone if name in theirs) for name in names} for i in (0, 1)
        )
        return {name: _plain(sums[name] / max(counts[name], 1)) for name in names}, counts


def _plain(mean: Tensor) -> Any:
    return mean.item() if mean.ndim == 0 else mean
