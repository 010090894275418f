"""Rows of text in columns, for the commands that list something."""

from collections.abc import Sequence


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows; the first of them has the names of the columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
