"""What the name of a parameter says: which layer of a network it belongs to, and that it does not decay."""

import re

from torch import nn

_NUMBERED = re.compile(r"\.(?:layer|layers|h|block|blocks|stages|albert_layer_groups)\.(\d+)\.")


def depths(network: nn.Module) -> dict[str, int]:
    """Of each parameter, how deep its layer is: 0 for embeddings, then the layers from 1 on, and last the head."""
    names = [name for name, _ in network.named_parameters()]
    numbers = {name: _NUMBERED.search(f".{name}") for name in names}
    last = 2 + max((int(found[1]) for found in numbers.values() if found), default=0)
    early = ("embed", "wte", "wpe")
    return {
        name: int(found[1]) + 1 if (found := numbers[name]) else 0 if any(w in name for w in early) else last
        for name in names
    }


def undecayed(network: nn.Module) -> set[str]:
    """Names of parameters that are matrices by shape alone: tokens and positions, which do not decay."""
    return {name for name, _ in network.named_parameters() if name.endswith(("cls_token", "position_embeddings"))}
