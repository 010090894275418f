"""LoRA and its kin: small matrices beside frozen layers are trained in their place. By peft, put into the network.

R rank of an adapter
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from zoo.constraints import PositiveFloat, PositiveInt, ShareBelowOne, checked
from zoo.errors import ConfigError
from zoo.files.paths import write_text

_NAME = "default"
_PREFIX = "base_model.model."
"""What peft has before every name in its files."""
ALL_LINEAR = "all-linear"


@checked
@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685). The network itself stays as it is.

    Args:
        rank: of the two matrices of an adapter.
        alpha: an adapter's output is multiplied by alpha / rank. null for twice the rank.
        dropout: of an adapter's input.
        targets: names of the layers that get an adapter, such as q_proj. null for the choice of the task.
        modules_to_save: names of modules that are trained whole, such as a fresh head. They are saved with the
            adapters.
        dora: learn the length and the direction of a layer's weights apart (Liu et al. 2024, arXiv:2402.09353).
        rslora: multiply by alpha / sqrt(rank) instead (Kalajdzievski 2023, arXiv:2312.03732).
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat | None = None
    dropout: ShareBelowOne = 0.0
    targets: list[str] | None = None
    modules_to_save: list[str] | None = None
    dora: bool = False
    rslora: bool = False


def attach(network: nn.Module, lora: Lora, targets: Sequence[str] | str) -> None:
    """Freeze the network and give its layers adapters, which are in 32 bits and change nothing yet.

    New weights come from torch's global random stream.

    Args:
        targets: where `lora` names none; ALL_LINEAR for every linear layer but the head.

    Raises:
        ConfigError: no layer has such a name, or one that has can have no adapter.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = {name for name, module in network.named_modules() if _takes_one(module)}
    for word in lora.targets or []:
        if not any(_ends_in(name, word) for name in linear):
            leaves = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(f"model.lora.targets: no linear layer is called {word!r}; there are {', '.join(leaves)}.")
    whole = {name for name, _ in network.named_modules()}
    for word in lora.modules_to_save or []:
        if not any(_ends_in(name, word) for name in whole):
            raise ConfigError(f"model.lora.modules_to_save: the network has no module that is called {word!r}.")
    if tied := [word for word in lora.modules_to_save or [] if _is_tied(network, word)]:
        raise ConfigError(
            f"model.lora.modules_to_save: {tied[0]} shares its weights with another layer of this network, and would "
            f"not any more. Leave it out, or start from a model without tied embeddings."
        )
    network.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,  # type: ignore[arg-type]  # any number is multiplied with
        lora_dropout=lora.dropout,
        target_modules=lora.targets or (targets if isinstance(targets, str) else [*targets]),
        modules_to_save=lora.modules_to_save,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        fan_in_fan_out=any(_is_transposed(module) for module in network.modules()),
    )
    inject_adapter_in_model(config, network, _NAME)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _ends_in(name: str, word: str) -> bool:
    return name == word or name.endswith(f".{word}")


def _is_tied(network: nn.Module, word: str) -> bool:
    """Whether a weight of a module of that name is used elsewhere too."""
    named = [*network.named_parameters(remove_duplicate=False)]
    inside = {id(p) for name, p in named if _ends_in(name.rpartition(".")[0], word)}
    return any(id(p) in inside for name, p in named if not _ends_in(name.rpartition(".")[0], word))


def _is_transposed(module: nn.Module) -> bool:
    """GPT-2's linear layers, whose weight is [in, out]."""
    return type(module).__name__ == "Conv1D"


def _takes_one(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)) or _is_transposed(module)


def fingerprint(network: nn.Module) -> list[float]:
    """The first eight values of every weight, so that adapters meet the network that they were trained beside."""
    return [value for p in network.parameters() for value in p.detach().flatten()[:8].float().tolist()]


def is_of(network: nn.Module, known: list[float]) -> bool:
    """Whether these are the weights of a fingerprint. Either may have been rounded to 16 bits."""
    found, wanted = torch.tensor(fingerprint(network)), torch.tensor(known)
    return found.shape == wanted.shape and bool(((found - wanted).abs() <= wanted.abs() / 2**7 + 1e-6).all())


def share(network: nn.Module) -> str:
    """How much of the network is trained, for a line on the screen."""
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    total = sum(p.numel() for p in network.parameters())
    return f"{trained:,} of {total:,} parameters are trained ({trained / total:.2%})"


def save(network: Any, folder: Path, base: str) -> None:
    """Write the adapters as plain peft, and through it transformers, loads them.

    Args:
        base: hub id or folder of the network below them.
    """
    from peft import get_peft_model_state_dict

    config = network.peft_config[_NAME]
    tensors = get_peft_model_state_dict(network, adapter_name=_NAME, save_embedding_layers=False)
    named = {f"{_PREFIX}{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {**config.to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    settings = {name: sorted(value) if isinstance(value, set) else value for name, value in settings.items()}
    write_text(folder / "adapter_config.json", json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n")


def merge(network: nn.Module) -> None:
    """Add the adapters to the layers beside which they were trained, and take them away.

    Raises:
        ConfigError: what comes out is not finite.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for name, module in [*network.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise ConfigError(f"the adapter of {name} cannot be merged: {error}.") from error
            _put(network, name, module.get_base_layer())
        elif isinstance(module, ModulesToSaveWrapper):
            _put(network, name, module.modules_to_save[_NAME])
    if hasattr(network, "peft_config"):
        del network.peft_config
    network.requires_grad_(True)


def _put(network: nn.Module, name: str, part: Any) -> None:
    above, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(above), leaf, part)
