"""What a command says at its end."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_EXACT = ("tokens", "images")


def table(title: str, figures: dict[str, float], protocol: dict[str, Any]) -> None:
    """Print figures, with how they were measured under them."""
    grid = Table(title=title, title_justify="left")
    grid.add_column("figure")
    grid.add_column("value", justify="right")
    for name, value in figures.items():
        grid.add_row(name, f"{value:,.0f}" if name in _EXACT else f"{value:,.6g}")
    Console().print(grid)
    print("measured: " + ", ".join(f"{name} {value}" for name, value in protocol.items()))


def next_commands(folder: Path) -> None:
    print(
        f"run: {folder}\nnext:\n"
        f"  uv run zoo test                                  # the best checkpoint on the test data\n"
        f"  uv run zoo predict --data.predict FILE           # predictions for what is in it\n"
        f"  uv run zoo fit --resume                          # go on after an interruption\n"
        f"  uv run tensorboard --logdir {folder / 'tensorboard'}"
    )
