from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zoo.callbacks import progress
from zoo.callbacks.progress import ProgressLine
from zoo.runs.metrics_csv import MetricsCSV


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands until it is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def trainer() -> Any:
    return SimpleNamespace(
        global_step=0, total_steps=100, targets_done=0, max_epochs=2, current_epoch=0, is_global_zero=True,
        sanity_checking=False, state=SimpleNamespace(fn="fit"), callback_metrics={"train/loss": torch.tensor(2.5)},
        loggers=[],
    )  # fmt: skip


MODULE = SimpleNamespace(unit="tokens", device=torch.device("cpu"), last_metrics={"loss": 1.25})


def test_a_line_says_where_the_run_is_how_fast_and_how_long_it_takes(clock: Any, capsys: Any):
    line, t = ProgressLine(log_seconds=10), trainer()
    line.on_train_start(t, MODULE)
    clock.now += 20
    t.global_step, t.targets_done = 10, 4000
    line.on_train_batch_end(t, MODULE)
    assert capsys.readouterr().out == "epoch 1/2 · step 10/100 · loss 2.5 · 200 tokens/s · 0:03:00 left\n"


def test_speed_goes_to_loggers_now_and_then_and_never_into_metrics_csv(clock: Any, tmp_path: Any):
    written: list[Any] = []
    line, t = ProgressLine(log_seconds=1), trainer()
    csv = MetricsCSV(tmp_path / "metrics.csv")
    t.loggers = [SimpleNamespace(log_metrics=lambda *of: written.append(of)), csv]
    line.on_train_start(t, MODULE)
    for _ in range(8):
        clock.now += 2
        t.global_step, t.targets_done = t.global_step + 1, t.targets_done + 600
        line.on_train_batch_end(t, MODULE)
    assert written == [({"speed/tokens_per_second": 300.0}, 1), ({"speed/tokens_per_second": 300.0}, 6)]
    assert not (tmp_path / "metrics.csv").exists()


def test_validation_counts_neither_as_training_nor_as_silence(clock: Any, capsys: Any):
    line, t = ProgressLine(log_seconds=10), trainer()
    line.on_train_start(t, MODULE)
    for _ in range(3):  # six seconds of training and fifty of validation each
        clock.now += 6
        t.global_step, t.targets_done = t.global_step + 1, t.targets_done + 600
        line.on_train_batch_end(t, MODULE)
        line.on_validation_start(t, MODULE)
        clock.now += 50
        line.on_validation_end(t, MODULE)
    said = capsys.readouterr().out.splitlines()
    assert sum("100 tokens/s" in s for s in said) == 1
    assert said[0] == "step 1/100 · val/loss 1.25"
