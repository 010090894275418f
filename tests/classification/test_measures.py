"""Reference for every metric: torchmetrics over the whole set at once."""

import pytest
import torch
from torchmetrics.functional import classification as reference

from zoo.classification import measures

LOGITS = 2 * torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 6, (200,), generator=torch.Generator().manual_seed(1))  # class 6 never occurs


@pytest.fixture
def sums() -> dict[str, torch.Tensor]:
    parts = [measures.sums(x, y, 5) for x, y in zip(LOGITS.split(33), LABELS.split(33), strict=True)]
    return {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}


def test_accuracy(sums: dict[str, torch.Tensor]):
    expected = reference.multiclass_accuracy(LOGITS, LABELS, 7, average="micro")
    assert measures.accuracy(sums["confusion"]) == pytest.approx(float(expected))


def test_top_five_accuracy(sums: dict[str, torch.Tensor]):
    expected = reference.multiclass_accuracy(LOGITS, LABELS, 7, average="micro", top_k=5)
    assert float(sums["top"] / 200) == pytest.approx(float(expected))


def test_macro_f1(sums: dict[str, torch.Tensor]):
    expected = reference.multiclass_f1_score(LOGITS, LABELS, 7, average="macro")
    assert measures.macro_f1(sums["confusion"]) == pytest.approx(float(expected))


def test_accuracy_and_precision_of_each_class(sums: dict[str, torch.Tensor]):
    metrics = measures.class_metrics(sums["confusion"])
    assert torch.allclose(metrics[:, 1], reference.multiclass_recall(LOGITS, LABELS, 7, average=None))
    assert torch.allclose(metrics[:, 2], reference.multiclass_precision(LOGITS, LABELS, 7, average=None))


def test_calibration_error(sums: dict[str, torch.Tensor]):
    expected = reference.multiclass_calibration_error(LOGITS, LABELS, 7, n_bins=15)
    assert measures.calibration_error(sums["calibration"] / 200) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            {"val/accuracy": 0.9, "val/majority_accuracy": 0.25},
            "The run beat its baseline: a validation accuracy of 90.0%,",
        ),
        ({"val/accuracy": 0.25, "val/majority_accuracy": 0.25}, "The run did not beat its baseline"),
        ({}, ""),
    ],
)
def test_whether_the_baseline_was_beaten_is_said_in_words(metrics: dict[str, float], said: str):
    found = measures.conclusion(metrics)
    assert found.startswith(said)
    assert bool(found) == bool(said)
