"""Image classifiers of timm, of transformers and of the user's own, found by name, behind one face.

These classes have the same methods; a task asks `find` for one and never which it is.
"""

import difflib
import inspect
import json
import logging
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.models import group_parameters, resolve_model_input_args, save_for_hf
from torch import Tensor, nn

from zoo import devices
from zoo.errors import ConfigError, MissingInputError
from zoo.files.hub import explained, offline
from zoo.files.paths import follow
from zoo.images import hf_processors
from zoo.images.preprocessing import Preprocessing, of_processor
from zoo.models import layers, own_class
from zoo.models.own_classifier import OwnClassifier

logging.getLogger("timm").setLevel(logging.ERROR)  # it tells of every head that it replaces, as it was asked to

Norm = Literal["batch", "frozen", "group"]
_PROCESSOR = "preprocessor_config.json"


class TimmClassifier:
    """A network of timm.

    Args:
        name: as timm writes it: resnet18, vit_base_patch16_224.augreg_in21k, hf-hub:owner/name, local-dir:folder.
        settings: further arguments of that architecture.
    """

    def __init__(self, name: str, settings: dict[str, Any] | None = None):
        self.name, self.settings = name, settings or {}

    def describe(self) -> dict[str, Any]:
        """Plain types, from which `restore` makes this again without any download."""
        resolved = resolve_model_input_args(self.name)
        name = resolved.pop("model_name")
        for key in ("pretrained_cfg", "pretrained_model_args"):
            resolved.pop(key, None)
        return {"timm": name, "settings": {**resolved, **self.settings}}

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.name.removeprefix("local-dir:"), "model")

    def preprocessing(self, image_size: int | None) -> Preprocessing:
        with self._explained():
            config = resolve_model_input_args(self.name)["pretrained_cfg"]
        resolved = resolve_data_config({}, pretrained_cfg=config)
        squash = resolved["crop_mode"] == "squash"
        return Preprocessing(
            size=image_size or self.settings.get("img_size") or resolved["input_size"][-1],
            mean=tuple(resolved["mean"]),
            std=tuple(resolved["std"]),
            interpolation=resolved["interpolation"] if resolved["interpolation"] != "random" else "bicubic",
            crop=1.0 if squash else resolved["crop_pct"],
            squash=squash,
        )

    def label_names(self) -> list[str] | None:
        """Classes of the pretrained head, as ImageNet's synsets; None where the weights do not tell."""
        with self._explained():
            config = resolve_model_input_args(self.name)["pretrained_cfg"]
        if config.get("label_names"):
            return list(config["label_names"])
        subset = infer_imagenet_subset(config)
        return ImageNetInfo(subset).label_names() if subset else None

    def build(
        self,
        label_count: int,
        wanted: Preprocessing,
        pretrained: bool,
        weights: str | None,
        dropout: float,
        drop_path: float,
        norm: Norm,
    ) -> nn.Module:
        """The network, with `label_count` outputs; its position embeddings are interpolated to the image's size."""
        if devices.is_planned():
            pretrained, weights = False, None
        settings: dict[str, Any] = {**self.settings, "num_classes": label_count}
        settings |= {"drop_rate": dropout or None, "drop_path_rate": drop_path or None}
        settings["norm_layer"] = "groupnorm" if norm == "group" else self.settings.get("norm_layer")
        if resolve_model_input_args(self.name)["pretrained_cfg"].get("fixed_input_size"):
            settings["img_size"] = wanted.size
        overlay = None
        if weights:
            if not (path := follow(weights)).is_file():
                raise MissingInputError(f"model.weights: {weights}: no such file.")
            overlay = {"file": str(path), "source": "file"}
        if pretrained and not weights:
            _stay_offline()
        with self._explained():
            try:
                network = timm.create_model(self.name, pretrained, pretrained_cfg_overlay=overlay, **settings)
            except (TypeError, RuntimeError) as error:
                raise ConfigError(f"model {self.name}: {_first_line(error)}") from error
        return network

    def logits(self, network: Any, images: Tensor) -> Tensor:
        return network(images)

    def head(self, network: Any) -> nn.Module:
        return network.get_classifier()

    def depths(self, network: Any) -> dict[str, int]:
        """Of each parameter, which layer it belongs to, from 0 at the input."""
        return group_parameters(network, network.group_matcher(coarse=False), reverse=True)

    def undecayed(self, network: Any) -> set[str]:
        """Parameters that weight decay leaves alone beside biases and norms: position embeddings, class tokens."""
        return set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()

    def checkpoint_activations(self, network: Any) -> None:
        network.set_grad_checkpointing(True)

    def save(self, network: Any, folder: Path, wanted: Preprocessing, label_names: list[str]) -> None:
        """For `timm.create_model("local-dir:FOLDER", pretrained=True)`, or with `checkpoint_path=`.

        And for `AutoModelForImageClassification` of transformers, which itself tells timm the number of classes:
        `model_args` must not have it too.
        """
        data = {
            "input_size": (3, wanted.size, wanted.size),
            "mean": wanted.mean,
            "std": wanted.std,
            "interpolation": wanted.interpolation,
            "crop_pct": wanted.crop,
            "crop_mode": "squash" if wanted.squash else "center",
        }
        save_for_hf(network, str(folder), {"label_names": label_names}, safe_serialization=True, data_config=data)
        path = folder / "config.json"
        config = json.loads(path.read_text("utf-8"))
        config["model_args"].pop("num_classes", None)  # the same number stands beside model_args
        path.write_text(json.dumps(config, indent=2), "utf-8")


class TransformersClassifier:
    """A network of transformers.

    Args:
        name: hub id or folder; None where only the architecture is known.
        config: the architecture; None to read that of `name`.
    """

    def __init__(self, name: str | None, config: dict[str, Any] | None = None):
        self.name, self._config = name, config

    def describe(self) -> dict[str, Any]:
        return {"transformers": self.config().to_dict()}

    def config(self) -> Any:
        from zoo.models import pretrained as hf

        if self._config is not None:
            return hf.make_config(self._config)
        assert self.name is not None
        return hf.load_config(self.name)

    def preprocessing(self, image_size: int | None) -> Preprocessing:
        return of_processor(self._processor(), image_size)

    def _processor(self) -> Any:
        """That of the model; one that only resizes, where there is none: an architecture alone has no preferences."""
        from transformers import AutoImageProcessor, ViTImageProcessor

        if self.name and not (Path(self.name).is_dir() and not (Path(self.name) / _PROCESSOR).is_file()):
            with explained(self.name, "image processor"):
                return AutoImageProcessor.from_pretrained(
                    self.name, local_files_only=offline(), trust_remote_code=False
                )
        side = getattr(self.config(), "image_size", None)
        height, width = side if isinstance(side, (list, tuple)) else (side or 224,) * 2
        return ViTImageProcessor(size={"height": height, "width": width})

    def label_names(self) -> list[str] | None:
        names = self.config().id2label
        return None if self.name is None else [names[i] for i in sorted(names)]

    def build(
        self,
        label_count: int,
        wanted: Preprocessing,
        pretrained: bool,
        weights: str | None,
        dropout: float,
        drop_path: float,
        norm: Norm,
    ) -> nn.Module:
        from transformers import AutoModelForImageClassification

        from zoo.models import pretrained as hf

        config = self.config()
        hf.set_dropout(config, dropout)
        if norm == "group" or weights or (drop_path and not hasattr(config, "drop_path_rate")):
            raise ConfigError(
                f"model {self.name or config.model_type}: norm group, weights, and drop_path where the architecture "
                f"has none, are for networks of timm."
            )
        if getattr(config, "drop_path_rate", drop_path) != drop_path:
            hf.set_word(config, "drop_path_rate", drop_path, "model.drop_path")
        if config.num_labels != label_count:
            config.num_labels = label_count
        config.architectures = config.architectures or []  # a family of two kinds of heads looks into it
        if not pretrained or devices.is_planned():
            with hf.refused(f"{config.model_type} cannot be built with these settings"):
                return AutoModelForImageClassification.from_config(config, dtype=torch.float32, trust_remote_code=False)
        assert self.name is not None
        with explained(self.name, "model"):
            return AutoModelForImageClassification.from_pretrained(
                self.name,
                config=config,
                dtype=torch.float32,
                local_files_only=offline(),
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
            )

    def logits(self, network: Any, images: Tensor) -> Tensor:
        size = getattr(network.config, "image_size", images.shape[-1])
        further = {}
        if size != images.shape[-1] and "interpolate_pos_encoding" in inspect.signature(network.forward).parameters:
            further = {"interpolate_pos_encoding": True}
        return network(pixel_values=images, **further).logits

    def head(self, network: Any) -> nn.Module:
        if not isinstance(head := getattr(network, "classifier", None), nn.Module):
            raise ConfigError(f"{type(network).__name__} has no part called classifier, so its head is not known.")
        return head

    def depths(self, network: Any) -> dict[str, int]:
        return layers.depths(network)

    def undecayed(self, network: Any) -> set[str]:
        return layers.undecayed(network)

    def checkpoint_activations(self, network: Any) -> None:
        network.gradient_checkpointing_enable({"use_reentrant": False})

    def save(self, network: Any, folder: Path, wanted: Preprocessing, label_names: list[str]) -> None:
        """For `pipeline("image-classification", FOLDER)`."""
        assert wanted.processor is not None
        network.config.id2label = dict(enumerate(label_names))
        network.config.label2id = {name: i for i, name in enumerate(label_names)}
        network.save_pretrained(folder)
        hf_processors.restored(wanted.processor).save_pretrained(folder)


Classifier = TimmClassifier | TransformersClassifier | OwnClassifier


def find(source: str | dict[str, Any]) -> Classifier:
    """The classifier of a name or folder, or of an architecture written out.

    Args:
        source: a name of timm, a hub id, a folder in the format of either library; or `{name: …}` with settings of
            that network of timm, or `{model_type: …}` with settings of that type of transformers; or `{class_path: …}`
            of the user's own.

    Raises:
        ConfigError: timm has no such network.
        MissingInputError: no such folder.
    """
    if own_class.is_named(source):
        return OwnClassifier(dict(source))
    if isinstance(source, dict):
        settings = dict(source)
        if "model_type" in settings:
            return TransformersClassifier(None, settings)
        if not isinstance(name := settings.pop("name", None), str):
            raise ConfigError("model.architecture: name (a network of timm) or model_type (one of transformers).")
        return TimmClassifier(_known(name), settings)
    folder = follow(source)
    if (folder / "config.json").is_file():
        with explained(str(folder), "model"):
            of_timm = "architecture" in dict(json.loads((folder / "config.json").read_text("utf-8")))
        return TimmClassifier(f"local-dir:{folder}") if of_timm else TransformersClassifier(str(folder))
    if source.startswith(("hf-hub:", "hf_hub:")):
        return TimmClassifier(source)
    if source.startswith("timm/"):
        return TimmClassifier(f"hf-hub:{source}")
    return TransformersClassifier(source) if "/" in source else TimmClassifier(_known(source))


def restore(description: dict[str, Any]) -> Classifier:
    """What `describe` described, without a look at the place that it came from."""
    if own_class.is_named(description):
        return OwnClassifier(description)
    if "transformers" in description:
        return TransformersClassifier(None, description["transformers"])
    return TimmClassifier(description["timm"], description["settings"])


def _known(name: str) -> str:
    if timm.is_model(name):
        return name
    near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), 1)
    raise ConfigError(
        f"model: timm has no network called {name!r}{f'; did you mean {near[0]}?' if near else ''}. A network of "
        f"transformers is named with its owner: google/vit-base-patch16-224."
    )


def _stay_offline() -> None:
    if offline():
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether an image's output in training depends on the others in its batch."""
    return any(_is_batch_norm(m) and m.track_running_stats for m in network.modules())


def freeze_statistics(network: nn.Module) -> None:
    """Put every batch norm into evaluation: it uses its running mean and variance and leaves them as they are."""
    for module in network.modules():
        if _is_batch_norm(module):
            module.eval()


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
