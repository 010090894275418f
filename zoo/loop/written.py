"""The methods that a task has to write, and the hooks that it must not: each with its line."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from zoo.errors import ConfigError

_NEVER_CALLED = {
    "optimizer_step": "an optimizer class of your own (model.optimizer), or on_before_optimizer_step",
    "optimizer_zero_grad": "on_train_batch_start",
    "configure_gradient_clipping": "trainer.gradient_clip_val, or on_before_optimizer_step",
    "lr_scheduler_step": "model.schedule, or set the rates in on_train_batch_start",
}
Method = TypeVar("Method", bound=Callable[..., Any])


def to_write(purpose: str) -> Callable[[Method], Method]:
    """Marks a method that subclasses write, by what it is needed for. Called all the same, it raises a ConfigError."""

    def mark(method: Method) -> Method:
        @wraps(method)
        def raising(self: Any, *args: Any, **kwargs: Any) -> Any:
            raise _missing(self, raising)

        raising.purpose = purpose  # type: ignore[attr-defined]
        return raising  # type: ignore[return-value]

    return mark


def need(task: Any, *names: str) -> None:
    """Refuse a command that needs these methods before it begins.

    Raises:
        ConfigError: the task has not written one of them.
    """
    for name in names:
        if not is_written(task, name):
            raise _missing(task, getattr(type(task), name))


def need_sample_type(task: Any) -> None:
    if not hasattr(task, "sample_type"):
        raise ConfigError(f"{task.name} does not set sample_type, the class of the samples that it predicts from.")


def is_written(task: Any, name: str) -> bool:
    return not hasattr(getattr(type(task), name), "purpose")


def _missing(task: Any, method: Any) -> ConfigError:
    call = f"{method.__name__}({', '.join(inspect.signature(method).parameters)})"
    return ConfigError(
        f"{task.name} has no {method.__name__}(), which is needed {method.purpose}. Write {call} in the class."
    )


def refuse_hooks(cls: type) -> None:
    """Refuse a task with a hook of Lightning that zoo's loop never calls."""
    for hook in _NEVER_CALLED.keys() & vars(cls).keys():
        raise ConfigError(
            f"{cls.__name__}.{hook} would never be called: zoo's loop steps the optimizer itself. "
            f"Use {_NEVER_CALLED[hook]}."
        )
