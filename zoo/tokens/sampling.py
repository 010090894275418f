"""How text is generated."""

from dataclasses import dataclass, replace
from typing import Any

from zoo.constraints import NonNegativeFloat, NonNegativeInt, PositiveInt, PositiveShare, checked
from zoo.errors import ConfigError


@checked
@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Args:
        max_new_tokens: most tokens of a continuation. It ends earlier where the model ends the document.
        temperature: the logits are divided by this. At 0 the most likely token is taken each time (greedy).
        top_k: tokens are drawn among this many most likely ones. 0 means among all.
        top_p: tokens are drawn among the most likely ones that together have this probability.
        num_sequences: how many continuations each prompt gets.
    """

    max_new_tokens: PositiveInt = 64
    temperature: NonNegativeFloat = 0.8
    top_k: NonNegativeInt = 50
    top_p: PositiveShare = 1.0
    num_sequences: PositiveInt = 1


def changed(usual: Sampling, changes: dict[str, Any]) -> Sampling:
    """The settings of a single call.

    Raises:
        ConfigError: no such setting, or a value that it cannot have.
    """
    for name, value in changes.items():
        if not hasattr(usual, name):
            known = ", ".join(vars(usual))
            raise ConfigError(f"predict() has no {name}. How text is generated is set by {known}, and by seed.")
        kinds = (int,) if isinstance(getattr(usual, name), int) else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ConfigError(f"predict(): {name} is {value!r}; expected a {'whole ' * (len(kinds) == 1)}number.")
    return replace(usual, **changes)
