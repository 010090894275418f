"""Images and tables for people: confusion matrix, metrics of each class, a grid of small images with captions."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.files.paths import write_text, write_whole
from zoo.images.measures import class_metrics

_READABLE = 30
"""Above so many classes, names and numbers in a matrix would be too small to read."""


def confusion_table(confusion: Tensor, names: Sequence[str], path: Path) -> Path:
    """CSV: a row per true class, a column per predicted one."""
    rows = [[name, *map(int, row)] for name, row in zip(names, confusion.tolist(), strict=True)]
    return _csv(path, [["true \\ predicted", *names], *rows])


def class_table(confusion: Tensor, names: Sequence[str], path: Path) -> Path:
    """CSV: how many images each class has, and how well it is told from the others."""
    metrics = class_metrics(confusion).tolist()
    rows = [[n, int(c), *(f"{x:.4f}" for x in rest)] for n, (c, *rest) in zip(names, metrics, strict=True)]
    return _csv(path, [["class", "images", "accuracy", "precision", "f1"], *rows])


def confusion_plot(confusion: Tensor, names: Sequence[str], path: Path) -> Path:
    """PNG: shares of each true class, with the counts written in while they can be read."""
    figure, grid = _figure(min(14, 2.5 + 0.5 * len(names)), min(14, 2 + 0.5 * len(names)))
    axes = grid[0, 0]
    shares = (confusion / confusion.sum(1, keepdim=True).clamp(min=1)).numpy()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if len(names) <= _READABLE:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        for row, column in confusion.nonzero().tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = f"{int(confusion[row, column])}"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.04)
    return _png(figure, path)


def mosaic(images: Sequence[Tensor], titles: Sequence[str], path: Path, columns: int = 5) -> Path:
    """PNG: small images in rows, each with its title above.

    Args:
        images: each [3, S, S] uint8.
    """
    columns = columns if len(images) <= 4 * columns else math.ceil(len(images) ** 0.5)
    rows = math.ceil(len(images) / columns)
    figure, grid = _figure(1.7 * columns, 2.1 * rows, rows, columns)
    cells = list(grid.flat)
    for axes in cells:
        axes.axis("off")
    for axes, image, title in zip(cells, images, titles, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=8)
    return _png(figure, path)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_whole(path, lambda file: file.write(buffer.getvalue()))
    return path


def _csv(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())
    return path
