import csv
from pathlib import Path

import pytest

from zoo.runs import metrics_csv
from zoo.runs.metrics_csv import MetricsCSV


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_metric_that_comes_later_gets_a_column(tmp_path: Path):
    log = MetricsCSV(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 2.0}, 1)
    log.log_metrics({"val/loss": 1.5}, 2)
    assert rows(tmp_path / "metrics.csv") == [
        {"step": "1", "loss": "2", "val/loss": ""},
        {"step": "2", "loss": "", "val/loss": "1.5"},
    ]


def test_a_resumed_run_neither_doubles_nor_loses_rows(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    log = MetricsCSV(path)
    for step in range(1, 6):
        log.log_metrics({"loss": float(step)}, step)
    with open(path, "a") as file:
        file.write("6,")  # torn by a kill
    again = MetricsCSV(path, done_steps=3)
    for step in range(4, 7):
        again.log_metrics({"loss": float(step)}, step)
    assert [row["step"] for row in rows(path)] == ["1", "2", "3", "4", "5", "6"]
    assert all(row["loss"] == row["step"] for row in rows(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = MetricsCSV(path := tmp_path / "metrics.csv")
    for step in (1, 2, 3):
        log.log_metrics({"train/loss": step / 3}, step)
    log.log_metrics({"val/loss": 0.5}, 3)
    return path


def test_a_resumed_run_drops_what_it_is_going_to_repeat(path: Path):
    MetricsCSV(path, done_steps=2)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "1", "2"]


def test_a_resumed_and_an_undisturbed_file_are_the_same(path: Path):
    whole = path.read_bytes()
    log = MetricsCSV(path, done_steps=2)
    log.log_metrics({"train/loss": 1.0}, 3)
    log.log_metrics({"val/loss": 0.5}, 3)
    assert path.read_bytes() == whole


def test_a_validation_that_is_repeated_has_one_row(path: Path):
    whole = path.read_bytes()
    MetricsCSV(path, done_steps=3, validation_due=True).log_metrics({"val/loss": 0.5}, 3)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("torn", [1, 3, 8])
def test_a_torn_last_row_is_dropped(path: Path, torn: int):
    """Cut after its first digit, the row of step 12 looks like one of step 1."""
    MetricsCSV(path, done_steps=3).log_metrics({"train/loss": 0.25}, 12)
    path.write_bytes(path.read_bytes()[:-torn])
    MetricsCSV(path, done_steps=3)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "1", "2", "3", "3"]


def test_zeros_that_a_power_cut_left_are_dropped(path: Path):
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 40 + b"\n" + b"\0" * 5)
    MetricsCSV(path, done_steps=3)
    assert path.read_bytes() == whole


def test_rows_that_a_full_disk_refuses_are_written_when_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch):
    log = MetricsCSV(path, done_steps=3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics_csv, "_append", full)
    log.log_metrics({"train/loss": 0.25}, 4)
    with pytest.raises(OSError, match="No space"):
        log.make_durable()
    monkeypatch.undo()
    log.log_metrics({"train/loss": 0.125}, 5)
    assert path.read_text().splitlines()[-2:] == ["4,0.25,", "5,0.125,"]
