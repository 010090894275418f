"""Networks that see noisy images: those of diffusers, and a user's own, found by name, behind one face.

B images · C channels · S side in pixels
"""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import Tensor, nn

from zoo import devices
from zoo.errors import ConfigError, MissingInputError
from zoo.files.hub import explained, offline
from zoo.files.paths import follow
from zoo.models.named import class_named, settings_of

_KEY = "model.architecture"
_PARTS = ("unet", "transformer")
"""Folders of a pipeline where its network is."""
_CLASSES = ("num_class_embeds", "num_embeds_ada_norm")
"""Settings that say how many classes a network is told. A transformer has the row of no class by itself."""


class Denoiser:
    """A network by its class and settings.

    Args:
        name: of a class of diffusers, or class path of one's own: a Module that is called with (noisy images,
            timestep=, class_labels=) and returns what is predicted, or an object whose `sample` it is.
        settings: arguments of its constructor.
        source: folder or hub id of its weights, and the folder in it; None where there are only settings.
    """

    def __init__(self, name: str, settings: dict[str, Any], source: tuple[str, str] | None = None):
        self.name, self.settings, self.source = name, settings, source
        self.label_names: list[str] = []
        self.prediction: str | None = None
        """What the pipeline that it comes from tells of its classes and of what it says."""
        self.cls = class_named(name, nn.Module, _KEY)
        self.takes = settings_of(self.cls, settings, _KEY)
        for key in (*_CLASSES, "dropout"):
            if key in settings and source is None:
                own = "model.dropout" if key == "dropout" else "the classes of the data"
                raise ConfigError(f"{_KEY}.{key} follows from {own}. Leave it out.")

    def describe(self) -> dict[str, Any]:
        """Plain types, from which `restore` makes this again."""
        return {"name": self.name, "settings": json.loads(json.dumps(self.settings))}

    def _setting(self, name: str) -> Any:
        if name in self.settings:
            return self.settings[name]
        return inspect.signature(self.cls).parameters[name].default if name in self.takes else None

    @property
    def channels(self) -> int:
        """C: 1 for grey, 3 for colours."""
        return int(self._setting("in_channels") or 3)

    @property
    def image_size(self) -> int | None:
        """S that the network was made for; None where it does not say."""
        size = self.settings.get("sample_size")
        return size if isinstance(size, int) else None

    @property
    def can_have_classes(self) -> bool:
        return bool(self.takes & {*_CLASSES})

    @property
    def has_classes(self) -> bool:
        """Whether its weights are of a network that is told classes."""
        return any(self.settings.get(name) for name in _CLASSES)

    def build(self, label_count: int, image_size: int, dropout: float) -> nn.Module:
        """The network with random weights.

        Args:
            label_count: classes beside that of no class; 0 for a network that is told none.

        Raises:
            ConfigError: its settings do not go together, or not with images of this size.
        """
        further: dict[str, Any] = {}
        if "sample_size" in self.takes:
            further["sample_size"] = image_size
        if "num_class_embeds" in self.takes:
            further["num_class_embeds"] = label_count + 1 if label_count else None
        if "num_embeds_ada_norm" in self.takes:
            further["num_embeds_ada_norm"] = max(1, label_count)
        if dropout and "dropout" not in self.takes:
            raise ConfigError(f"model.dropout is {dropout}, and {self.name} has none.")
        if "dropout" in self.takes:
            further["dropout"] = dropout
        try:
            network: nn.Module = self.cls(**{**self.settings, **further})
        except (TypeError, ValueError, RuntimeError, NotImplementedError, LookupError) as error:
            raise ConfigError(f"{_KEY}: {self.name} does not take these settings: {_first_line(error)}") from error
        module: Any
        for module in network.modules():
            if hasattr(module, "dropout_prob") and hasattr(module, "token_drop"):
                module.dropout_prob = 0.0  # labels are dropped by the task, as a function of seed, step and sample
        return network

    def try_out(self, label_count: int, image_size: int) -> None:
        """See whether images of this size go through, without memory for any of it.

        Raises:
            ConfigError: they do not, or another number of channels or pixels comes out.
        """
        with torch.device("meta"):
            network = self.build(label_count, image_size, 0.0)
            images = torch.zeros(1, self.channels, image_size, image_size)
            labels = torch.zeros(1, dtype=torch.long)
            try:
                said = self.predict(network, images, torch.zeros(1), labels if label_count else None)
            except (RuntimeError, ValueError, TypeError) as error:
                raise ConfigError(
                    f"{_KEY}: {self.name} cannot see images of {image_size} x {image_size} ({_first_line(error)}). "
                    f"Choose a model.image_size that it can halve as often as it does, or fewer blocks."
                ) from error
        if said.shape != images.shape:
            raise ConfigError(
                f"{_KEY}: {self.name} makes {[*said.shape[1:]]} of images that are {[*images.shape[1:]]}. What it says "
                f"must have their shape (in_channels, out_channels)."
            )

    def load(self, network: nn.Module) -> list[str]:
        """Put the weights of `source` into the network; returns the names of parameters that it has otherwise."""
        if devices.is_planned():
            return []
        assert self.source is not None
        name, folder = self.source
        with explained(name, "model"):
            known: Any = self.cls
            there = known.from_pretrained(name, subfolder=folder or None, local_files_only=offline()).state_dict()
        own = network.state_dict()
        fitting = {n: t for n, t in there.items() if n in own and own[n].shape == t.shape}
        network.load_state_dict(fitting, strict=False)
        return sorted(own.keys() - fitting.keys())

    def predict(self, network: Any, noisy: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        """[B, C, S, S]: what the network says of noisy images.

        Args:
            noisy: [B, C, S, S].
            time: [B], as `noise.at_time` tells it.
            labels: [B] int64; None for a network that is told no classes.
        """
        if labels is None and "num_embeds_ada_norm" in self.takes:
            labels = torch.zeros(len(noisy), dtype=torch.long, device=noisy.device)
        told = {} if labels is None else {"class_labels": labels}
        said = network(noisy, timestep=time, **told)
        said = getattr(said, "sample", said)
        # A network that predicts a variance too has it in as many further channels.
        return said[:, : noisy.shape[1]] if said.shape[1] == 2 * noisy.shape[1] else said

    def checkpoint_activations(self, network: Any) -> None:
        if not getattr(network, "_supports_gradient_checkpointing", False):
            raise ConfigError(f"model.gradient_checkpointing is true, and {self.name} has none.")
        network.enable_gradient_checkpointing()


def find(source: str | dict[str, Any]) -> Denoiser:
    """The network of a folder or hub id, or of settings written out.

    Args:
        source: `{name: UNet2DModel, …}`; or a folder or hub id of a network or pipeline of diffusers.

    Raises:
        ConfigError: no such class or setting.
        MissingInputError: no such folder.
    """
    if isinstance(source, dict):
        settings = dict(source)
        if not isinstance(name := settings.pop("name", None), str):
            raise ConfigError(f"{_KEY}: name is missing: a class of diffusers, as {{name: UNet2DModel, …}}.")
        return Denoiser(name, settings)
    where = str(follow(source)) if follow(source).is_dir() else source
    for folder in ("", *_PARTS):
        if (config := _config(where, folder)) is not None:
            name = str(config.get("_class_name"))
            own = {key: value for key, value in config.items() if not key.startswith("_")}
            found = Denoiser(name, own, (where, folder))
            found.label_names, found.prediction = _told(Path(where))
            return found
    raise MissingInputError(f"model.pretrained {source}: no network of diffusers is there (config.json, unet/ …).")


def restore(description: dict[str, Any]) -> Denoiser:
    """What `describe` described, without a look at the place that it came from."""
    return Denoiser(description["name"], description["settings"], ("", ""))


def _config(where: str, folder: str) -> dict[str, Any] | None:
    if Path(where).is_dir():
        path = Path(where) / folder / "config.json"
        if not path.is_file():
            return None
        with explained(where, "model"):
            return dict(json.loads(path.read_text("utf-8")))
    with explained(where, "model"):
        try:
            found: Any = ModelMixin.load_config(where, subfolder=folder or None, local_files_only=offline())
        except OSError:
            if folder == _PARTS[-1]:
                raise
            return None
        return dict(found)


def _told(folder: Path) -> tuple[list[str], str | None]:
    """Names of the classes, and what is predicted, as far as a folder with a pipeline tells."""
    names: list[str] = []
    if (path := folder / "model_index.json").is_file():
        with explained(str(folder), "model"):
            names = list(json.loads(path.read_text("utf-8")).get("label_names") or [])
    if not (path := folder / "scheduler" / "scheduler_config.json").is_file():
        return names, None
    with explained(str(folder), "model"):
        settings = dict(json.loads(path.read_text("utf-8")))
    is_flow = str(settings.get("_class_name")).startswith("FlowMatch") or settings.get("use_flow_sigmas")
    says = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
    return names, "flow" if is_flow else says.get(str(settings.get("prediction_type")))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
