"""An image classifier of the user's own, with the face of those of timm and transformers.

B images · S side in pixels · C classes
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.images.preprocessing import Preprocessing
from zoo.models import layers, own_class
from zoo.models.head import calm

_GREY = (0.5, 0.5, 0.5)
_COUNTS = ("num_classes", "num_labels", "n_classes")


class OwnClassifier:
    """A module that makes logits [B, C] of images [B, 3, S, S] in -1 .. 1.

    Args:
        architecture: class path and arguments. How many classes there are is given to the constructor, if it takes
            num_classes, num_labels or n_classes, and the side of the images, if it takes image_size.
    """

    def __init__(self, architecture: Mapping[str, Any]):
        self.path, self.arguments = own_class.parts(architecture)

    def describe(self) -> dict[str, Any]:
        return {"class_path": self.path, "init_args": self.arguments}

    def preprocessing(self, image_size: int | None) -> Preprocessing:
        size = image_size or self.arguments.get("image_size")
        if not isinstance(size, int):
            raise ConfigError(
                f"model.image_size is not set. {self.path} sees squares of so many pixels a side: set it."
            )
        return Preprocessing(size=size, mean=_GREY, std=_GREY)

    def label_names(self) -> None:
        """None: there are no weights that know classes."""

    def build(
        self,
        label_count: int,
        wanted: Preprocessing,
        pretrained: bool,
        weights: str | None,
        dropout: float,
        drop_path: float,
        norm: str,
    ) -> nn.Module:
        if weights or drop_path or norm == "group":
            raise ConfigError("model.weights, drop_path and norm group are for networks of timm.")
        found_out = dict.fromkeys(_COUNTS, label_count) | {"image_size": wanted.size}
        network, self.arguments = own_class.make(self.path, self.arguments, found_out)
        own_class.set_dropout(network, self.path, dropout)
        self._try(network, wanted.size, label_count)
        return network

    def _try(self, network: nn.Module, side: int, label_count: int) -> None:
        with calm(network):
            images = torch.zeros(2, 3, side, side)
            logits = own_class.tried(self.path, f"images of shape {[*images.shape]}", lambda: network(images))
        if not isinstance(logits, Tensor) or [*logits.shape] != [2, label_count]:
            raise ConfigError(
                f"model.architecture: {self.path} makes a {own_class.described(logits)} of images of shape "
                f"{[*images.shape]}. Expected logits, a tensor of shape {[2, label_count]}: one for each of the "
                f"{label_count} classes."
            )

    def logits(self, network: Any, images: Tensor) -> Tensor:
        return network(images)

    def head(self, network: Any) -> nn.Module:
        if not isinstance(head := getattr(network, "head", None), nn.Module):
            raise ConfigError(f"{self.path} has no part called head, so its head is not known.")
        return head

    def depths(self, network: Any) -> dict[str, int]:
        return layers.depths(network)

    def undecayed(self, network: Any) -> set[str]:
        return layers.undecayed(network)

    def checkpoint_activations(self, network: Any) -> None:
        own_class.checkpoint_activations(network, self.path)

    def save(self, network: Any, folder: Path, wanted: Preprocessing, label_names: list[str]) -> None:
        """Weights, arguments, and a card."""
        names = ", ".join(label_names)
        inputs = (
            f"It makes logits [B, {len(label_names)}] of images [B, 3, {wanted.size}, {wanted.size}], RGB, as "
            f"(value / 255 - 0.5) / 0.5. The classes, in the order of the logits: {names}."
        )
        own_class.save(network, self.path, self.arguments, folder, inputs)
