"""Which settings may differ when a run is resumed: none that changes what it computes, unless the user insists."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from zoo.errors import ConfigError

_FREE_OF_TRAINER = (
    "max_epochs", "max_steps", "max_time", "min_epochs", "min_steps", "accelerator", "devices", "num_nodes", "strategy",
    "logger", "callbacks", "log_every_n_steps", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "profiler", "num_sanity_val_steps", "default_root_dir", "benchmark", "deterministic", "detect_anomaly",
    "enable_autolog_hparams", "model_registry",
)  # fmt: skip
"""How long, where, and with what said: the training up to a step is the same."""
_FREE = (
    *(f"trainer.{name}" for name in _FREE_OF_TRAINER),
    *("checkpoint", "model.gradient_checkpointing", "data.num_workers", "data.eval_batch_size"),
    *("data.predict", "data.test"),
)
_MISSING = "nothing"


def check(made_with: Mapping[str, Any], now: Mapping[str, Any], allowed: Collection[str]) -> list[str]:
    """Compare settings, flat by key, of a checkpoint with those of the run that goes on from it.

    Args:
        allowed: keys that may differ, each with all that is below it.

    Returns:
        The keys that differ and are allowed to; what is below another of them is left out.

    Raises:
        ConfigError: others differ; names key and both values.
    """
    changed = [key for key in {**made_with, **now} if made_with.get(key, _MISSING) != now.get(key, _MISSING)]
    refused = [key for key in changed if not _is_below(key, allowed)]
    if not refused:
        return _tops(changed)
    tops = _tops(refused)
    made = ", ".join(f"{key}={_short(made_with.get(key, _MISSING))}" for key in tops[:4])
    says = ", ".join(_short(now.get(key, _MISSING)) for key in tops[:4])
    flags = " ".join(f"--allow-change {key}" for key in tops[:4])
    raise ConfigError(f"the checkpoint was made with {made}, the config says {says}; the same, or {flags}.")


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a config that decide what is computed, by the names that the command line has for them."""
    return without(dict(leaves(config)), _FREE)


def without(settings: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not _is_below(key, keys)}


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a config, by the name that the command line has for it."""
    if not isinstance(node, Mapping):
        yield key, node
        return
    for name, value in node.items():
        inside = key if name in ("class_path", "init_args", "dict_kwargs") else f"{key}.{name}" if key else str(name)
        yield from leaves(value, inside)


def _tops(keys: list[str]) -> list[str]:
    return [key for key in keys if not any(key != other and _is_below(key, [other]) for other in keys)]


def _is_below(key: str, tops: Collection[str]) -> bool:
    return any(key == top or key.startswith(f"{top}.") for top in tops)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
