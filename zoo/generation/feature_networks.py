"""Networks by whose features images are compared: one that zoo trained on such images, Inception, or none at all.

B images · S side in pixels · D features
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.classification.labels import some
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.generation.sample_metrics import Features
from zoo.samples import INDEX, Batch

_SMALL, _AT_ONCE = 16, 256


class FeatureNetwork:
    """What metrics of generated images ask of a network.

    Args:
        name: for people.
        label_names: classes that it tells apart; none of a network that only has features.
    """

    def __init__(self, name: str, label_names: Sequence[str] = ()):
        self.name, self.label_names = name, list(label_names)

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, D] f32 features, and [B] int64, the class that each image shows (0 without classes); on the CPU.

        Args:
            images: [B, 3, S, S] uint8.
        """
        raise NotImplementedError

    def read_all(self, batches: Iterable[Batch]) -> Features:
        """What it reads in the images of all batches."""
        values, labels, seen, index = list[Tensor](), list[Tensor](), list[Tensor](), list[int]()
        for batch in filter(None, batches):
            for images in batch["image"].split(_AT_ONCE):
                features, classes = self.read(images)
                values.append(features)
                seen.append(classes)
            labels.append(batch["targets"])
            index += batch.get(INDEX, range(len(batch["targets"])))
        return Features(torch.cat(values), torch.cat(labels), torch.cat(seen), index)


class Judge(FeatureNetwork):
    """A classifier that was trained on real images of the same kind.

    Args:
        task: that knows `label_names`, `preprocessing`, and `features(images)`.
        name: of its run.
        label_names: of the images; none for a generator that is told no classes.

    Raises:
        ConfigError: it is no image classifier, or of other classes.
    """

    def __init__(self, task: Any, name: str, label_names: list[str]):
        if not hasattr(task, "features"):
            raise ConfigError(f"model.judge: {name} is a run of {task.name}. Name one of zoo.ImageClassification.")
        if label_names and {*label_names} != {*task.label_names}:
            raise ConfigError(
                f"model.judge: {name} knows {some(task.label_names)}, and this model {some(label_names)}. "
                f"Name a run that was trained on the same classes."
            )
        super().__init__(name, label_names)
        self.task = task
        self._number = torch.tensor([label_names.index(n) for n in task.label_names] if label_names else [0])

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        size = self.task.preprocessing.size
        features, logits = self.task.features({"image": resized(images, size).to(self.task.device)})
        seen = logits.argmax(-1).cpu() if self.label_names else torch.zeros(len(images), dtype=torch.long)
        return features.float().cpu(), self._number[seen]


class Script(FeatureNetwork):
    """A network in a TorchScript file that takes uint8 images: the Inception of FID, as NVIDIA and others publish it.

    Args:
        path: of the file.
        device: where it runs.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no such network.
    """

    def __init__(self, path: str, device: torch.device):
        if not Path(path).is_file():
            raise MissingInputError(f"model.inception: {path}: no such file.")
        try:
            self.network: Any = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise DataError(
                f"model.inception: {path} is no TorchScript file ({str(error).splitlines()[0]})."
            ) from error
        super().__init__(Path(path).name)
        self.device = device
        arguments = {argument.name for argument in self.network.forward.schema.arguments}
        self.further = {"return_features": True} if "return_features" in arguments else {}

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network(images.to(self.device), **self.further)
        return features.flatten(1).float().cpu(), torch.zeros(len(images), dtype=torch.long)


class Pixels(FeatureNetwork):
    """No network: colours of an image of 16 x 16. They say what is a copy, and not what is alike to people."""

    def __init__(self) -> None:
        super().__init__(f"pixels at {_SMALL} x {_SMALL}")

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        small = images if images.shape[-1] <= _SMALL else resized(images, _SMALL)
        return small.flatten(1).float().cpu(), torch.zeros(len(images), dtype=torch.long)


def resized(images: Tensor, side: int) -> Tensor:
    """[B, 3, side, side] uint8.

    Args:
        images: [B, 3, S, S] uint8.
    """
    if images.shape[-1] == side:
        return images
    scaled = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)
