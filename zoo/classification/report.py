"""What is written of a classifier's test: confusion matrix, metrics of each class, the most confident mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.classification.measures import class_metrics
from zoo.files import fonts, plots

_READABLE = 30
"""Above so many classes, names and numbers in a matrix would be too small to read."""


def write(confusion: Tensor, names: Sequence[str], unit: str, folder: Path) -> list[Path]:
    """Confusion matrix as a table and as a plot, and a table of the classes.

    Args:
        confusion: [C, C], true classes in rows, predicted ones in columns.
        unit: what is counted, in the plural.
    """
    return [
        confusion_table(confusion, names, folder / "confusion.csv"),
        confusion_plot(confusion, names, folder / "confusion.png"),
        class_table(confusion, names, unit, folder / "classes.csv"),
    ]


def confusion_table(confusion: Tensor, names: Sequence[str], path: Path) -> Path:
    """CSV: a row per true class, a column per predicted one."""
    rows = [[name, *map(int, row)] for name, row in zip(names, confusion.tolist(), strict=True)]
    return plots.table(path, [["true \\ predicted", *names], *rows])


def class_table(confusion: Tensor, names: Sequence[str], unit: str, path: Path) -> Path:
    """CSV: how many samples each class has, and how well it is told from the others."""
    metrics = class_metrics(confusion).tolist()
    rows = [[n, int(c), *(f"{x:.4f}" for x in rest)] for n, (c, *rest) in zip(names, metrics, strict=True)]
    return plots.table(path, [["class", unit, "accuracy", "precision", "f1"], *rows])


def mistake_table(mistakes: Sequence[dict[str, Any]], path: Path) -> Path:
    """CSV: the most confident first."""
    columns = [name for name in mistakes[0] if name != "index"]
    rows = [[f"{m[n]:.4f}" if isinstance(m[n], float) else m[n] for n in columns] for m in mistakes]
    return plots.table(path, [columns, *rows])


def confusion_plot(confusion: Tensor, names: Sequence[str], path: Path) -> Path:
    """PNG: shares of each true class, with the counts written in while they can be read."""
    drawn, grid = plots.axes(min(14, 2.5 + 0.5 * len(names)), min(14, 2 + 0.5 * len(names)))
    axes = grid[0, 0]
    shares = (confusion / confusion.sum(1, keepdim=True).clamp(min=1)).numpy()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if len(names) <= _READABLE:
        texts, style = fonts.lettering(names)
        axes.set_xticks(range(len(names)), texts, rotation=45, ha="right", rotation_mode="anchor", **style)
        axes.set_yticks(range(len(names)), texts, **style)
        for row, column in confusion.nonzero().tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = f"{int(confusion[row, column])}"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    drawn.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.04)
    return plots.png(drawn, path)
