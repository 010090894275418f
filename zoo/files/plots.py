"""Drawings of matplotlib without a window, and tables of a few rows, written whole."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.files.paths import write_text, write_whole


def axes(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A drawing, and [rows, columns] axes in it.

    Args:
        width, height: in inches.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    drawn: Any = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


def png(drawn: Any, path: Path) -> Path:
    data = _encoded(drawn).getvalue()
    write_whole(path, lambda file: file.write(data))
    return path


def image(drawn: Any) -> Any:
    """As a Pillow image."""
    from PIL import Image

    return Image.open(_encoded(drawn)).convert("RGB")


def _encoded(drawn: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=100)
    buffer.seek(0)
    return buffer


def table(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    """CSV, in the quotes that a spreadsheet undoes."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())
    return path
