"""What a command says at its end."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from rich.console import Console
from rich.table import Table

from zoo.errors import typed

_EXACT = ("tokens", "images", "utterances")


def table(title: str, metrics: dict[str, float], eval_settings: dict[str, Any]) -> None:
    """Print metrics, with how they were measured under them."""
    grid = Table(title=title, title_justify="left")
    grid.add_column("metric")
    grid.add_column("value", justify="right")
    for name, value in metrics.items():
        grid.add_row(name, f"{value:,.0f}" if name in _EXACT else f"{value:,.6g}")
    Console().print(grid)
    print("evaluated with: " + ", ".join(f"{name} {value}" for name, value in eval_settings.items()))


def conclusions(speakers: Iterable[Any], metrics: dict[str, float], step: int, total_steps: int) -> list[str]:
    """In words: why the run ended before its last step, and whether it beat its baseline.

    Args:
        speakers: callbacks and the task. Who has a word to say has a method `conclusion`, which takes the metrics.
    """
    said = []
    for speaker in speakers:
        if isinstance(speaker, EarlyStopping) and speaker.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            why = str(speaker.stopping_reason_message).removesuffix(" Signaling Trainer to stop.")
            said.append(f"Early stopping ended the run after step {step:,} of {total_steps:,}. {why}")
        if hasattr(speaker, "conclusion") and (words := speaker.conclusion(metrics)):
            said.append(words)
    return said


def next_commands(folder: Path, predicts_from: str) -> None:
    next_ = {
        "zoo test": "the best checkpoint on the test data",
        f"zoo predict {predicts_from}": "predictions",
        "zoo fit --resume": "go on after an interruption",
    }
    print(f"run: {folder}\nnext:")
    for command, about in next_.items():
        print(f"  {typed(command):<46} # {about}")
    print(f"  {typed(f'tensorboard --logdir {folder}/tensorboard')}")
