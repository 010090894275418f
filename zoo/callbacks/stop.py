"""Ends a training between two steps when a signal asks for it."""

from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback

from zoo.callbacks.checkpoints import Checkpoints
from zoo.errors import LostProcessError, Stopped, typed
from zoo.runs.signals import Signals

_SIGNS_OF_A_LOSS = (
    "gloo/transport",
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket closed",
)


class StopBySignal(Callback):
    """Between two steps, and between two batches of a validation, looks whether a signal has come: saves and stops.

    Args:
        signals: of this command.
    """

    def __init__(self, signals: Signals):
        self.signals = signals
        self._first_step = 0
        self._in_step = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        trainer._signal_connector.register_signal_handlers = _nothing  # Lightning's would end the run without saving

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._first_step = trainer.global_step
        self.signals.deferred = True

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self._look(trainer, validation_due=False)
        self._in_step = True

    def on_train_batch_end(self, *_: Any) -> None:
        self._in_step = False

    def on_validation_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._look(trainer, validation_due=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.signals.deferred = False

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.signals.deferred = False
        if self.signals.received and not self._in_step and not isinstance(exception, Stopped):
            # The signal went to the whole process group, and a data worker was quicker to go than the step.
            self._save(trainer, validation_due=trainer.validating)
            raise self._stopped(trainer)
        if trainer.world_size > 1 and _is_of_another_process(exception):
            raise LostProcessError(
                f"another process of this run has gone at step {trainer.global_step + 1:,}.{self._go_on(trainer)}"
            ) from exception

    def _look(self, trainer: Any, validation_due: bool) -> None:
        asked = self.signals.received is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self._save(trainer, validation_due)
            raise self._stopped(trainer)

    def _save(self, trainer: Any, validation_due: bool) -> None:
        step = trainer.global_step
        if step == self._first_step and not validation_due:
            return  # what was resumed is what there is
        if validation_due and step >= trainer.total_steps:
            return  # a run whose steps are all done would not be entered again; the checkpoint before leads here
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints) and callback.folder and not callback.has(step):
                callback.save(trainer, validation_due, last=True)

    def _stopped(self, trainer: Any) -> Stopped:
        name = self.signals.received.name if self.signals.received else "another process"
        number = self.signals.received or 15
        return Stopped(number, f"stopped by {name} after step {trainer.global_step:,}.{self._go_on(trainer)}")

    @staticmethod
    def _go_on(trainer: Any) -> str:
        folders = [c.folder.parent for c in trainer.checkpoint_callbacks if isinstance(c, Checkpoints) and c.folder]
        return f" Go on with: {typed(f'zoo fit --resume {folders[0]}')}" if folders else ""


def _is_of_another_process(error: BaseException) -> bool:
    """Whether a collective failed as its other end is gone. Gloo raises a plain RuntimeError."""
    said = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in said for sign in _SIGNS_OF_A_LOSS)
    )


def _nothing() -> None:
    pass
