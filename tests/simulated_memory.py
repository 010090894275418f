"""A device with too little memory, played on the CPU."""

from typing import Any, Literal

import torch
from lightning.pytorch import Callback

from zoo.loop import microbatch

Where = Literal["forward", "loss", "backward"]


class Full(Callback):
    """From one step on, pieces of more than `room` samples end in an out-of-memory error.

    Args:
        room: samples that fit.
        where: before the forward pass, between it and the backward pass, or when the backward pass is nearly done
            (all gradients but the first tensor's have been added).
        first_step: steps before it have all the memory they want.
        last_piece: fail only in a batch's last piece, when the others have left their gradients behind.
    """

    def __init__(self, room: int, where: Where = "forward", first_step: int = 0, last_piece: bool = False):
        self.room, self.where, self.first_step, self.last_piece = room, where, first_step, last_piece
        self.failures: list[tuple[int, int]] = []
        """(step, samples) of each simulated error."""
        self._armed, self._seen, self._length = False, 0, 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        whole_loss = pl_module.loss
        first = next(p for p in pl_module.parameters() if p.requires_grad)
        first.register_hook(lambda _: self._fail() if self._armed else None)

        def loss(piece: Any) -> Any:
            fails = self._fails(trainer.global_step, microbatch.batch_length(piece))
            if fails:
                self.failures.append((trainer.global_step, microbatch.batch_length(piece)))
                self._seen = 0
            if fails and self.where == "forward":
                self._fail()
            result = whole_loss(piece)
            if fails and self.where == "loss":
                self._fail()
            self._armed = fails
            return result

        pl_module.loss = loss

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._seen, self._length = 0, microbatch.batch_length(batch)

    def _fails(self, step: int, samples: int) -> bool:
        self._seen += samples
        in_question = not self.last_piece or self._seen == self._length
        return torch.is_grad_enabled() and step >= self.first_step and samples > self.room and in_question

    def _fail(self) -> None:
        self._armed = False
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)\nmore of it")


class Sizes(Callback):
    """Sets the micro-batch from given steps on, as an out-of-memory error would; notes it after every step."""

    def __init__(self, changes: dict[int, int] | None = None):
        self.changes, self.seen = changes or {}, []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step in self.changes:
            pl_module.micro_batch_size = self.changes[trainer.global_step]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.seen.append(pl_module.micro_batch_size)
