"""A logger that cannot write is left out, and the training goes on."""

import sys
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers.logger import Logger

_CALLED = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")
"""What Lightning calls of a logger."""


def tolerate(trainer: Any, logger: Logger) -> Logger:
    """The logger, which from now on warns once and leaves the trainer where it would have ended the run."""
    for name in _CALLED:
        if hasattr(logger, name):
            setattr(logger, name, _tolerant(trainer, logger, getattr(logger, name)))
    return logger


def _tolerant(trainer: Any, logger: Logger, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            leave_out(trainer, logger, error)

    return call


def leave_out(trainer: Any, logger: Logger, error: Exception) -> None:
    if logger not in trainer.loggers:
        return
    trainer.loggers = [other for other in trainer.loggers if other is not logger]
    why = " ".join((getattr(error, "strerror", None) or str(error)).split())
    print(f"zoo: {type(logger).__name__} cannot write ({why}), so the run goes on without it.", file=sys.stderr)
