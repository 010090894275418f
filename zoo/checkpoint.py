"""Checkpoints: what is in one, and how it reaches the disk whole."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from zoo.errors import DataError, MissingInputError
from zoo.paths import write_whole


def without_frozen(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without the parameters that are not trained; buffers stay (batch statistics are learnt too)."""
    frozen = {name for name, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor for name, tensor in state.items() if name not in frozen}


def loop_state(fit_loop: Any, step: int, steps_per_epoch: int) -> dict[str, Any]:
    """Lightning's loop state after `step` whole steps, as a function of that integer.

    Lightning saves its own counters, whose values depend on the hook in which the save happened; a save on an epoch's
    last batch makes it skip the next epoch. So they are not saved but made: `step` steps are done, a validation that
    was due is done, and nothing else has begun.
    """
    state: dict[str, Any] = fit_loop.state_dict()
    epochs, batches = divmod(step, steps_per_epoch)
    begun = epochs + (batches > 0)
    for span in ("total", "current"):
        state["epoch_progress"][span] = {"ready": begun, "started": begun, "processed": epochs, "completed": epochs}
        done = step if span == "total" else batches
        state["epoch_loop.batch_progress"][span] = dict.fromkeys(("ready", "started", "processed", "completed"), done)
        state["epoch_loop.manual_optimization.optim_step_progress"][span] = {"ready": step, "completed": step}
    return state


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. Never runs code from the file.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is damaged, or no checkpoint of zoo.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such checkpoint.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} is damaged or no checkpoint ({type(error).__name__}). Name another one.") from error
    if not isinstance(content, dict) or "zoo" not in content:
        raise DataError(f"{path} is no checkpoint of zoo.")
    return content


class DurableIO(TorchCheckpointIO):
    """A checkpoint is either there as a whole or not there: written beside its place, synced, then put in place."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        write_whole(Path(path), lambda file: torch.save(checkpoint, file))
