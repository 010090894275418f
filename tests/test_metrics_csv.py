import csv
from pathlib import Path

from zoo.metrics_csv import MetricsCSV


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_figure_that_comes_later_gets_a_column(tmp_path: Path):
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
