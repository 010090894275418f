"""Metrics of a classifier from sums that add up exactly over batches and processes.

B samples · C classes · K bins of confidence
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

_BINS = 15


def sums(logits: Tensor, labels: Tensor, top: int) -> dict[str, Tensor]:
    """What a batch adds: hits among the `top` most likely, confusion [C, C], calibration [K, 3].

    Args:
        logits: [B, C].
        labels: [B] int64.
    """
    probability, predicted = logits.softmax(-1).max(-1)
    hits = logits.topk(min(top, logits.shape[-1])).indices == labels[:, None]
    return {
        "top": hits.any(-1).float().sum(),
        "confusion": multiclass_confusion_matrix(predicted, labels, logits.shape[-1]).float(),
        "calibration": _calibration(probability, (predicted == labels).float()),
    }


def _calibration(probability: Tensor, correct: Tensor) -> Tensor:
    """[K, 3]: how many predictions fall in each bin of confidence, their confidence, and how many are right."""
    bins = (probability * _BINS).ceil().long().clamp(1, _BINS) - 1
    sums = torch.zeros(_BINS, 3, device=probability.device)
    return sums.index_add_(0, bins, torch.stack([torch.ones_like(correct), probability, correct], 1))


def accuracy(confusion: Tensor) -> float:
    """Share of right answers.

    Args:
        confusion: [C, C], true classes in rows, predicted ones in columns.
    """
    return float(confusion.diagonal().sum() / confusion.sum())


def class_metrics(confusion: Tensor) -> Tensor:
    """[C, 4]: how many there are of each class, its accuracy (recall), its precision, and its F1; 0 where undefined."""
    right, there, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    f1 = 2 * right / (there + said).clamp(min=1)
    return torch.stack([there, right / there.clamp(min=1), right / said.clamp(min=1), f1], 1)


def macro_f1(confusion: Tensor) -> float:
    """Mean F1 of the classes that occur or were answered, as torchmetrics has it."""
    occurs = (confusion.sum(0) + confusion.sum(1)) > 0
    return float(class_metrics(confusion)[occurs, 3].mean())


def calibration_error(calibration: Tensor) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, in the mean over predictions.

    Args:
        calibration: [K, 3] of `sums`, over any number of samples, divided by their number.

    Source: Guo et al. 2017, with 15 bins.
    """
    return float((calibration[:, 1] - calibration[:, 2]).abs().sum() / calibration[:, 0].sum())


def summary(means: dict[str, Any], confusion: Tensor, top: int) -> dict[str, float]:
    """What an evaluation reports, from the means of `sums` and of the loss.

    `majority_accuracy` is what the largest class would get for every answer: what an accuracy is to be compared with.

    Args:
        confusion: [C, C], as counts.
        top: of `sums`.
    """
    return {
        "loss": means["loss"],
        "accuracy": accuracy(confusion),
        **({f"accuracy_top{top}": means["top"]} if len(confusion) > top else {}),
        "majority_accuracy": float(confusion.sum(1).max() / confusion.sum()),
        "f1_macro": macro_f1(confusion),
        "calibration_error": calibration_error(means["calibration"]),
    }


def likeliest(logits: Tensor, names: Sequence[str], count: int) -> list[list[dict[str, Any]]]:
    """Of each sample the most likely classes, with their probabilities.

    Args:
        logits: [B, C].
    """
    probabilities = logits.softmax(-1)
    top, which = probabilities.topk(min(count, len(names)))  # [B, count]
    return [
        [{"label": names[i], "probability": round(p, 6)} for i, p in zip(indices, shares, strict=True)]
        for shares, indices in zip(top.tolist(), which.tolist(), strict=True)
    ]


def conclusion(metrics: Mapping[str, float]) -> str:
    """Whether a run is better than the answer that is most often right, in a sentence; empty without a validation."""
    ours, theirs = metrics.get("val/accuracy"), metrics.get("val/majority_accuracy")
    if ours is None or theirs is None:
        return ""
    found = f"a validation accuracy of {ours:.1%}, and {theirs:.1%} for always naming the largest class."
    if ours > theirs:
        return f"The run beat its baseline: {found}"
    return f"The run did not beat its baseline: {found} It needs more steps, more data, or another learning rate."
