"""Every task and its data, small enough to train in a test. The contract tests run for each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.callbacks.checkpoints import Checkpoints
from zoo.tasks.causal_lm import Sampling

ADAMW = partial(torch.optim.AdamW, lr=1e-2)
SGD = partial(torch.optim.SGD, lr=0.5)
"""For comparisons: Adam divides gradients by their size, and so blows up the rounding of those that are zero (a key's
bias has no influence on softmax)."""


@dataclass
class Case:
    """A task with its data.

    Args:
        task: makes the task; keyword arguments override its settings.
        data: makes the data module.
        flags: the same pair for the command line.
        prediction: flags of a prediction.
        inputs: three to predict from.
        exact: settings with which a prediction draws nothing at random.
    """

    task: Callable[..., zoo.Task]
    data: Callable[..., zoo.DataModule]
    flags: list[str]
    prediction: list[str]
    inputs: list[Any] = field(default_factory=list)
    exact: dict[str, Any] = field(default_factory=dict)


def causal_lm(model: Path, text: Path) -> Case:
    settings: dict[str, Any] = {"pretrained": str(model), "max_length": 16, "optimizer": ADAMW}
    sizes = {"train": str(text), "batch_size": 7, "eval_batch_size": 9}
    flags = ["--model=zoo.CausalLM", f"--model.pretrained={model}", "--model.max_length=16"]
    flags += ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    flags += ["--data=zoo.TextData", f"--data.train={text}", "--data.batch_size=7", "--data.eval_batch_size=9"]
    return Case(
        task=lambda **kwargs: zoo.CausalLM(**{**settings, **kwargs}),
        data=lambda **kwargs: zoo.TextData(**{**sizes, **kwargs}),
        flags=flags,
        prediction=["--prompt", "The 3th fox"],
        inputs=["The 3th fox", "The", "and then sleeps for"],
        exact={"sampling": Sampling(temperature=0, max_new_tokens=8)},
    )


CASES = {"causal_lm": causal_lm}


def trainer(steps: int = -1, folder: Path | None = None, **kwargs: Any) -> zoo.Trainer:
    """A trainer without a run directory; with a folder it keeps a checkpoint of every step there."""
    callbacks = kwargs.pop("callbacks", [])
    if folder:
        saves = Checkpoints(every_n_steps=1, keep=10_000)
        saves.folder = folder
        callbacks = [*callbacks, saves]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    if not folder:
        quiet["enable_checkpointing"] = False
    return zoo.Trainer(accelerator="cpu", devices=1, max_steps=steps, callbacks=callbacks, **(quiet | kwargs))


def weights(task: zoo.Task) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in task.parameters()])
