"""After every validation, a few examples of what the network does now."""

from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger


class Previews(Callback):
    """Puts `task.preview()` into TensorBoard."""

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                with torch.inference_mode(), trainer.precision_plugin.forward_context():
                    for i, text in enumerate(pl_module.preview()):
                        logger.experiment.add_text(f"preview/{i}", f"```\n{text}\n```", trainer.global_step)
