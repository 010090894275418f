"""The wrong answers of a test that a classifier was surest of: what to look at first."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.loop import ranks

_KEPT = 20


class Mistakes:
    """The most confident wrong answers, over all batches and processes.

    Args:
        label_names: in the order of the outputs.
    """

    def __init__(self, label_names: Sequence[str]):
        self.label_names = label_names
        self.worst: list[dict[str, Any]] = []

    def add(self, logits: Tensor, targets: Tensor, shown: Mapping[str, Sequence[Any]]) -> None:
        """Keep the wrong ones of a batch. A batch that comes again, as memory ran out, counts once.

        Args:
            logits: [B, C].
            targets: [B] int64.
            shown: what is kept of each sample, by name; `index`, its number, tells it from others.
        """
        probability, predicted = logits.softmax(-1).max(-1)
        for i in (predicted != targets).nonzero().flatten().tolist():
            self.worst.append(
                {
                    "probability": float(probability[i]),
                    "predicted": self.label_names[int(predicted[i])],
                    "label": self.label_names[int(targets[i])],
                    **{name: _kept(values[i]) for name, values in shown.items()},
                }
            )
        self._sort(self.worst)

    def gather(self) -> None:
        """Take those of the other processes, at the end."""
        self._sort([mistake for theirs in ranks.gather(self.worst) for mistake in theirs])

    def _sort(self, found: list[dict[str, Any]]) -> None:
        once = {mistake["index"]: mistake for mistake in found}
        self.worst = sorted(once.values(), key=lambda m: (-m["probability"], m["index"]))[:_KEPT]


def _kept(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value
