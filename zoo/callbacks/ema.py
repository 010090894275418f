"""Averaged weights: smoother than the last ones, and most often better."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from zoo.constraints import OpenUnitInterval, checked
from zoo.loop.checkpoint import without_frozen
from zoo.recorded import Recorded


@checked
class EMA(Recorded, Callback):
    """Keep an exponential moving average of the weights, and validate, test and export that.

    Training itself goes on with the raw weights, and so does a resumed run. Between the first and the last hook of a
    validation the network has the averages, so that whatever looks at it then sees what is measured. Averaged are the
    trained parameters and the batch statistics, on the device where they are; frozen parts are not copied.

    Args:
        decay: share of the average that is kept at each step. Early steps keep less, (1 + step) / (10 + step), so that
            the average forgets the initial weights.
    """

    def __init__(self, decay: OpenUnitInterval = 0.9998):
        self.decay = decay
        self.averaged: dict[str, Tensor] = {}
        self._swapped = False

    # Training ---------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        live, known = _trained(pl_module), self.averaged
        self.averaged = {n: known[n].to(t.device) if n in known else t.detach().clone() for n, t in live.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        live = _trained(pl_module)
        torch._foreach_lerp_([self.averaged[name] for name in live], list(live.values()), weight)

    # Evaluation with the averages -------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._swapped:
            self._swap(pl_module)

    @contextmanager
    def raw(self, module: Any) -> Iterator[None]:
        """In a validation, the network with its raw weights for once."""
        if not self._swapped:
            yield
            return
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._swapped:
            self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, module: Any) -> None:
        for name, live in _trained(module).items():
            averaged = self.averaged[name]
            raw = live.clone()
            live.copy_(averaged)
            averaged.copy_(raw)
        self._swapped = not self._swapped

    # Checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Raw weights under state_dict and averages beside them, wherever they are now: a save may come in between."""
        aside = {name: self.averaged[first] for name, first in _names(pl_module).items()}
        live = {name: checkpoint["state_dict"][name] for name in aside}
        raw, averaged = (aside, live) if self._swapped else (live, aside)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **raw}
        checkpoint["averaged"] = averaged

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.averaged = dict(checkpoint.get("averaged", {}))


def _trained(module: Any) -> dict[str, Tensor]:
    """The tensors that a checkpoint keeps and that can be averaged, by name; one of two names once."""
    state = module.state_dict()
    return {first: state[first] for first in _names(module).values()}


def _names(module: Any) -> dict[str, str]:
    """Every name of these tensors, and the first name of the same tensor: tied weights have several."""
    state = without_frozen(module, module.state_dict(keep_vars=True))
    firsts: dict[int, str] = {}
    return {name: firsts.setdefault(id(t), name) for name, t in state.items() if t.is_floating_point()}
