"""Checkpoints: what is in one, how it reaches the disk whole, and how a damaged one is found.

A file is what `torch.save` writes, and after it a checksum (files/checksums.py). Plain `torch.load` takes it too.
"""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.files import checksums
from zoo.files.paths import write_whole

_PARTS = {
    "zoo": ("task", "step", "steps_per_epoch", "micro_batch_size", "data_state", "facts"),
    "state_dict": (),
    "callbacks": (),
    "optimizer_states": (),
}
_verified: dict[Path, tuple[int, int]] = {}
"""Files that this process has found whole, with size and time of last change."""


def wholly_frozen(module: nn.Module) -> dict[str, nn.Module]:
    """Modules that have parameters, none of which is trained, by name; the uppermost only, as what is below goes with
    them."""
    trained = {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    above = {top for name in trained for top in _tops(name)}
    found: dict[str, nn.Module] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        below_one = any(top in found for top in _tops(name))
        if name and name not in above and not below_one and next(part.parameters(), None) is not None:
            found[name] = part
    return found


def without_frozen(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without what is not trained: parameters, and all that is below a wholly frozen module.

    Other buffers stay, as batch statistics are learnt too.
    """
    frozen = {name for name, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    frozen |= wholly_frozen(module).keys()
    return {name: tensor for name, tensor in state.items() if frozen.isdisjoint(_tops(name))}


def _tops(name: str) -> list[str]:
    """a.b.c: a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def mismatch(module: nn.Module, found: dict[str, Tensor]) -> str:
    """What in a checkpoint's tensors does not go with the module's trained ones, by name; empty if all does."""
    there = module.state_dict()
    expected = without_frozen(module, there)
    wrong = {
        "missing": expected.keys() - found.keys(),
        "unexpected": found.keys() - there.keys(),
        "of another shape": {n for n in expected.keys() & found.keys() if expected[n].shape != found[n].shape},
    }
    return "; ".join(f"{kind}: {', '.join(sorted(n)[:3])} ({len(n)} in all)" for kind, n in wrong.items() if n)


def loop_state(fit_loop: Any, step: int, steps_per_epoch: int) -> dict[str, Any]:
    """Lightning's loop state after `step` whole steps, as a function of that integer.

    Lightning saves its own counters, whose values depend on the hook in which the save happened; a save on an epoch's
    last batch makes it skip the next epoch. So they are not saved but made: `step` steps are done, a validation that
    was due is done, and nothing else has begun.
    """
    state: dict[str, Any] = fit_loop.state_dict()
    epochs, batches = divmod(step, steps_per_epoch)
    begun = epochs + (batches > 0)
    for span in ("total", "current"):
        state["epoch_progress"][span] = {"ready": begun, "started": begun, "processed": epochs, "completed": epochs}
        done = step if span == "total" else batches
        state["epoch_loop.batch_progress"][span] = dict.fromkeys(("ready", "started", "processed", "completed"), done)
    state["epoch_loop.state_dict"] = {"_batches_that_stepped": step}  # what a logger that is told no step takes for it
    return state


def write(path: Path, content: dict[str, Any]) -> None:
    """Put a checkpoint in place, whole and with its checksum."""
    write_whole(path, lambda file: checksums.write(file, lambda hashed: torch.save(content, hashed)))


def damage(path: Path) -> str | None:
    """What is wrong with the file; None for nothing. A file is read once, as long as it does not change.

    Raises:
        MissingInputError: there is no such file.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such checkpoint.")
    status = path.stat()
    if _verified.get(path) == (status.st_size, status.st_mtime_ns):
        return None
    if wrong := checksums.damage(path):
        return wrong
    _verified[path] = (status.st_size, status.st_mtime_ns)
    return None


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. Never runs code from the file.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is damaged, or no checkpoint of zoo.
    """
    if wrong := damage(path):
        raise DataError(f"{path} is damaged or no checkpoint of zoo ({wrong}). Name another one.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} holds more than tensors and plain values, so it is not read.") from error
    if not isinstance(content, dict) or "zoo" not in content:
        raise DataError(f"{path} is no checkpoint of zoo.")
    if wrong := _lacking(content) or _nan(content):
        raise DataError(f"{path} cannot be used: {wrong}. Name another one, or train again with zoo fit.")
    return content


def _lacking(content: dict[str, Any]) -> str | None:
    """What a checkpoint of zoo has and this one has not: another program or another zoo wrote it."""
    for part, keys in _PARTS.items():
        kind = list if part == "optimizer_states" else dict
        if not isinstance(content.get(part), kind):
            return f"it has no {part}"
        for key in keys:
            if key not in content[part]:
                return f"it has no {part}.{key}, so another version of zoo wrote it"
    if not all(isinstance(tensor, Tensor) for tensor in content["state_dict"].values()):
        return "its state_dict holds more than tensors"
    return None


def _nan(content: dict[str, Any]) -> str | None:
    for part in ("state_dict", "averaged"):
        for name, tensor in content.get(part, {}).items():
            if tensor.isnan().any():  # infinity may be meant: a mask
                return f"{name} holds NaN"
    return None


class DurableIO(TorchCheckpointIO):
    """A checkpoint is either there as a whole or not there: written beside its place, synced, then put in place."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        write(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """As `read`: other files, addresses in the net and pickled code are refused whatever `weights_only` says."""
        if "://" in str(path):
            raise ConfigError(f"{path}: a checkpoint is read from a file. Download it first.")
        return read(Path(path))
