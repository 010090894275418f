"""Every task and its data, small enough to train in a test. The contract tests run for each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.models._hub import save_for_hf

import zoo
from zoo.callbacks.checkpoints import Checkpoints
from zoo.pictures.augment import Augmentation
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
        calm: settings under which a picture or text is the same at every step.
    """

    task: Callable[..., zoo.Task]
    data: Callable[..., zoo.DataModule]
    flags: list[str]
    prediction: list[str]
    inputs: list[Any] = field(default_factory=list)
    exact: dict[str, Any] = field(default_factory=dict)
    calm: dict[str, Any] = field(default_factory=dict)


def causal_lm(model: Path, text: Path) -> Case:
    """Lines of various lengths, so that some windows hold one segment and some several."""
    settings: dict[str, Any] = {"pretrained": str(model), "max_length": 16, "optimizer": ADAMW}
    sizes = {"train": str(text), "documents": "lines", "batch_size": 7, "eval_batch_size": 9}
    flags = ["--model=zoo.CausalLM", f"--model.pretrained={model}", "--model.max_length=16"]
    flags += ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    flags += [
        "--data=zoo.TextData",
        f"--data.train={text}",
        "--data.documents=lines",
        "--data.batch_size=7",
        "--data.eval_batch_size=9",
    ]
    return Case(
        task=lambda **kwargs: zoo.CausalLM(**{**settings, **kwargs}),
        data=lambda **kwargs: zoo.TextData(**{**sizes, **kwargs}),
        flags=flags,
        prediction=["--prompt", "The 3th fox"],
        inputs=["The 3th fox", "The", "and then sleeps for"],
        exact={"sampling": Sampling(temperature=0, max_new_tokens=8)},
    )


def tiny_vit(folder: Path) -> Path:
    """A ViT of two layers of 16 with random weights for ten digits of 8 × 8, as a folder of timm."""
    sizes = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", **sizes)
    names = {"label_names": [str(i) for i in range(10)]}
    save_for_hf(network, str(folder), names, safe_serialization=True, data_config={"input_size": (3, 8, 8)})
    return folder


def images(model: Path, text: Path) -> Case:
    """A small ViT, as batch statistics would couple the samples of a batch; with augmentation and both ways to mix."""
    folder = tiny_vit(text.with_name("tiny-vit"))
    augmentation = {"scale": 0.5, "policy": "rand", "erase": 0.5, "mixup": 0.2, "cutmix": 0.5, "label_smoothing": 0.1}
    settings: dict[str, Any] = {"pretrained": str(folder), "optimizer": ADAMW}
    settings["augmentation"] = Augmentation(**augmentation)
    sizes = {"train": "python:sklearn.datasets.load_digits", "limit": 37, "validation_fraction": 0.02}
    sizes |= {"batch_size": 7, "eval_batch_size": 9, "num_workers": 0}
    flags = ["--model=zoo.ImageClassification", f"--model.pretrained={folder}"]
    flags += ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    flags += ["--data=zoo.ImageData", *(f"--data.{name}={value}" for name, value in sizes.items())]
    picture = text.with_name("digit.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture)
    return Case(
        task=lambda **kwargs: zoo.ImageClassification(**{**settings, **kwargs}),
        data=lambda **kwargs: zoo.ImageData(**{**sizes, **kwargs}),
        flags=flags,
        prediction=["--image", str(picture)],
        inputs=[np.full((8, 8), 40 * i, dtype=np.uint8) for i in range(3)],
        calm={"augmentation": Augmentation(scale=1, flip=0)},
    )


CASES = {"causal_lm": causal_lm, "images": images}


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
