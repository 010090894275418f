"""metrics.csv: one row per step that logs, in columns that a spreadsheet opens."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from zoo.paths import write_text


class MetricsCSV(Logger):
    """Rows are appended; a figure that comes up later gets a new column, and the file is written anew.

    Args:
        path: an existing file is continued.
        done_steps: rows after this step are dropped first: the run that wrote them is being repeated from here.
    """

    def __init__(self, path: Path, done_steps: int = 0):
        super().__init__()
        self.path = path
        self.columns: list[str] = ["step"]
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if _step(row) <= done_steps]
                self.columns = list(reader.fieldnames or self.columns)
            self._rewrite(rows)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """config.yaml has them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row: dict[str, Any] = {"step": int(step or 0)} | {k: f"{v:.9g}" for k, v in metrics.items() if k != "epoch"}
        fresh = [name for name in row if name not in self.columns]
        if fresh or not self.path.is_file():
            self.columns += fresh
            self._rewrite([*self._rows(), row])
        else:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)

    def _rows(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


def _step(row: dict[str, Any]) -> float:
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):  # a row torn by a kill
        return float("inf")
