"""Warnings and chatter of libraries that a user cannot act on, each with its reason."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

WARNINGS = {
    # Our order of samples is a function of the step, so that a loader needs no state of its own.
    ".*your dataloader is not resumable.*": "lightning",
    # Windows of text come out of a memory-mapped file; workers would only cost memory. data.num_workers is a setting.
    ".*does not have many workers.*": "lightning",
    # A data module may yield no batch to one of several processes, or short epochs; log_every_n_steps is a setting.
    ".*is smaller than the logging interval.*": "lightning",
    # Loggers are attached when the run directory is opened.
    ".*Starting from v1.9.0, `tensorboardX` has been removed.*": "lightning",
    # Frozen statistics: a task may keep layers in evaluation mode.
    ".*in eval mode at the start of training.*": "lightning",
    # Metrics of an evaluation are gathered over all processes before they are logged.
    ".*It is recommended to use `self.log\\(.*sync_dist=True\\)`.*": "lightning",
    # manual optimization: the learning rate is set by the step, there is no scheduler to warn about.
    ".*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*": "torch",
    # By design: the task moves batches, so that a training batch can go through the device in micro-batches.
    ".*You have overridden `transfer_batch_to_device`.*": "lightning",
    # Our batches for prediction hold every sample once; the contract tests count them.
    ".*You are using a custom batch sampler.*": "lightning",
    # WavLM in transformers gives torch two masks of different types.
    ".*Support for mismatched key_padding_mask.*": "torch",
    # raised by lightning for its own use of torch's pytree
    ".*isinstance\\(treespec, LeafSpec\\).*": "lightning",
    # A default of a user's class that no config can hold stays with the class (lightning_cli.py).
    "\\s*Unable to serialize instance.*": "jsonargparse",
}
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch", "httpx")


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        before, threading.excepthook = threading.excepthook, _of_thread
        try:
            yield
        finally:
            threading.excepthook = before


def _of_thread(found: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread; where its disk is full, the next call of its writer raises the same again."""
    if not isinstance(found.exc_value, OSError):
        threading.__excepthook__(found)
