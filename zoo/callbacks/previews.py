"""After every validation, a few examples of what the network does now."""

import sys
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.callbacks.loggers import leave_out
from zoo.errors import DoesNotFitError
from zoo.loop import recovery


class Previews(Callback):
    """Puts `task.preview()` into TensorBoard."""

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                with torch.inference_mode(), trainer.precision_plugin.forward_context():
                    texts = shown(pl_module)
                try:
                    for i, text in enumerate(texts):
                        logger.experiment.add_text(f"preview/{i}", f"```\n{text}\n```", trainer.global_step)
                except OSError as error:
                    leave_out(trainer, logger, error)


def shown(task: Any) -> list[str]:
    """`task.preview()`; without memory for it there is none, as it is no part of the training."""
    try:
        return list(task.preview())
    except Exception as error:
        if not (isinstance(error, DoesNotFitError) or recovery.is_out_of_memory(error)):
            raise
        print(f"examples are not shown: {recovery.first_line(error)}", file=sys.stderr)
    recovery.free_cache()
    return []
