"""What a checkpoint keeps of a task and its run, and how a task goes on from one."""

from typing import Any

from zoo.errors import ConfigError
from zoo.loop import guards
from zoo.loop.checkpoint import loop_state, mismatch, without_frozen


def keep(task: Any, checkpoint: dict[str, Any]) -> None:
    """See `Task.on_save_checkpoint`."""
    kept = without_frozen(task, checkpoint["state_dict"])
    whole, checkpoint["state_dict"] = kept.keys() == checkpoint["state_dict"].keys(), kept
    checkpoint.pop("loops", None)
    checkpoint["zoo"] = {
        "task": task.name,
        "step": task.global_step,
        "steps_per_epoch": int(task.trainer.num_training_batches),
        "total_steps": task.trainer.total_steps,
        "micro_batch_size": task.micro_batch_size,
        "data_state": task.data_state,
        "is_whole": whole,
        "facts": task.trainer.facts(),
    }


def accept(task: Any, checkpoint: dict[str, Any]) -> None:
    """See `Task.on_load_checkpoint`.

    Raises:
        ConfigError: it is of another network, or made with settings that may not differ.
    """
    found = checkpoint["state_dict"]
    if wrong := mismatch(task, found):
        made_by = checkpoint["zoo"]["task"]
        whose = "" if made_by == task.name else f", made by {made_by}, while the config says {task.name}"
        raise ConfigError(f"the checkpoint is of another network{whose}: {wrong}.")
    if task.is_fitting:
        state, allowed = checkpoint["zoo"], task.trainer.allowed_changes
        changed = guards.check(state["facts"], task.trainer.facts(), allowed)
        if "model.micro_batch_size" not in allowed:
            task.micro_batch_size = state["micro_batch_size"]
        per_epoch = task.trainer.count_steps_per_epoch() if changed else state["steps_per_epoch"]
        checkpoint["loops"] = {"fit_loop": loop_state(task.trainer.fit_loop, state["step"], per_epoch)}
    elif task._trainer is not None:
        checkpoint["state_dict"] = {**found, **checkpoint.get("averaged", {})}
