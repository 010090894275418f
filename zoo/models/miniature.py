"""A small network of the same architecture, which answers for a large one what only numbers can tell."""

import copy
from typing import Any

import torch

from zoo import devices, streams

_SMALL: dict[str, Any] = {
    "num_hidden_layers": 2, "n_layer": 2, "num_layers": 2, "hidden_size": 64, "n_embd": 64, "n_inner": 96,
    "word_embed_proj_dim": 64, "ffn_dim": 96, "intermediate_size": 96, "num_attention_heads": 4, "n_head": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 97, "sliding_window": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_LEAST: dict[str, Any] = {name: _SMALL[name] for name in ("num_hidden_layers", "n_layer", "num_layers", "vocab_size")}
"""For a family whose widths depend on each other."""


def in_plan(network: Any) -> Any:
    """The network itself; in a plan, where it has no content, a real one of the same config with small sizes."""
    if not devices.is_planned():
        return network
    with devices.aside(), torch.no_grad(), streams.seeded("miniature"):
        try:
            return _built(network, _SMALL)
        except (RuntimeError, ValueError, TypeError, ArithmeticError):
            return _built(network, {**_LEAST, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2})


def _built(network: Any, sizes: dict[str, Any]) -> Any:
    settings = copy.deepcopy(network.config.to_dict())
    kinds = [*dict.fromkeys(settings.pop("layer_types", None) or ())]
    sizes = {**sizes, **({name: len(kinds) for name in ("num_hidden_layers",)} if kinds else {})}
    settings |= {name: value for name, value in sizes.items() if settings.get(name) is not None}
    config = type(network.config).from_dict(settings | ({"layer_types": kinds} if kinds else {}))
    config._attn_implementation = network.config._attn_implementation
    return type(network)(config).to(torch.float32)
