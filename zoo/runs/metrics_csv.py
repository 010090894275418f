"""metrics.csv: one row per step that logs, in columns that a spreadsheet opens."""

import csv
import errno
import io
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from zoo.files.paths import write_text


class MetricsCSV(Logger):
    """Rows are appended; a metric that comes up later gets a new column, and the file is written anew.

    Args:
        path: an existing file is continued.
        done_steps: rows after this step are dropped first: the run that wrote them is being repeated from here.
        validation_due: whether the validation of that step is repeated too.
    """

    def __init__(self, path: Path, done_steps: int = 0, validation_due: bool = False):
        super().__init__()
        self.path = path
        self.columns: list[str] = ["step"]
        self._waiting: list[dict[str, Any]] = []
        """Rows that a full disk did not take."""
        if path.is_file():
            rows = [row for row in self._rows() if _step(row) <= done_steps]
            if validation_due:
                rows = [row for row in rows if _step(row) < done_steps or not _is_validation(row)]
            self.columns = [name for name in self.columns if name == "step" or any(row.get(name) for row in rows)]
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
        self._waiting.append(row)
        try:
            self._write_waiting()
        except OSError:
            return  # the rows wait for the next one; the checkpoints tell the user that the disk is full
        self._waiting.clear()

    def make_durable(self) -> None:
        """What is written so far survives a power cut.

        Raises:
            OSError: rows are waiting still, as the disk is full.
        """
        if self._waiting:
            self._write_waiting()
            self._waiting.clear()
        if self.path.is_file():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())

    def _write_waiting(self) -> None:
        fresh = list(dict.fromkeys(k for row in self._waiting for k in row if k not in self.columns))
        if fresh or not self.path.is_file():
            rows = [*self._rows(), *self._waiting]
            self.columns += fresh
            self._rewrite(rows)
            return
        lines = io.StringIO()
        csv.DictWriter(lines, self.columns).writerows(self._waiting)
        _append(self.path, lines.getvalue().encode())

    def _rows(self) -> list[dict[str, Any]]:
        """What the file holds in whole lines; a kill or a power cut may have torn the last ones."""
        if not self.path.is_file():
            return []
        text = self.path.read_bytes().rpartition(b"\n")[0].decode("utf-8", errors="replace")
        lines = list(csv.reader(io.StringIO(text, newline="")))
        self.columns = lines[0] if lines and lines[0][:1] == ["step"] else self.columns
        return [dict(zip(self.columns, line, strict=True)) for line in lines[1:] if len(line) == len(self.columns)]

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


def _append(path: Path, lines: bytes) -> None:
    """Add them all or none."""
    size = path.stat().st_size
    with open(path, "ab", buffering=0) as file:
        try:
            if file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def _step(row: dict[str, Any]) -> float:
    return int(row["step"]) if row["step"].isdecimal() else float("inf")


def _is_validation(row: dict[str, Any]) -> bool:
    return any(value for name, value in row.items() if name.startswith("val/"))
