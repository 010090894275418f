"""What is wrong with settings: one line each, with where it stands and what comes nearest."""

import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoo.errors import ConfigError, DataError, MissingInputError, UserError

SETTING, DATA, MISSING = 2, 65, 66


_PIECES = "data.batch_size is the batch of a step, and model.micro_batch_size how much of it is on the GPU at a time"
FOREIGN = {
    "streaming": "zoo copies a hub data set once and maps it into memory: leave it out (a part of it: data.limit)",
    "gradient_accumulation_steps": _PIECES,
    "per_device_train_batch_size": _PIECES,
    "learning_rate": "it is an argument of the optimizer: model.optimizer.lr",
    "lr": "it is an argument of the optimizer: model.optimizer.lr",
    "weight_decay": "it is an argument of the optimizer: model.optimizer.weight_decay",
    "lr_scheduler": "it is model.schedule and model.warmup_steps",
    "epochs": "it is trainer.max_epochs",
    "num_train_epochs": "it is trainer.max_epochs",
    "warmup_ratio": "it is model.warmup_steps, where a number below 1 is a share of all steps",
    "max_grad_norm": "it is trainer.gradient_clip_val",
    "block_size": "it is model.max_length",
    "max_seq_length": "it is model.max_length",
    "use_lora": "zoo has no LoRA yet; PEFT has",
    "fp16": "it is trainer.precision: 16-mixed",
    "bf16": "it is trainer.precision: bf16-mixed",
    "seed": "it is seed_everything, a section of its own",
    "output_dir": "a run goes to runs/NAME, where NAME is --name or that of the config",
    "dataset": "it is data.train",
    "model_name": "it is model.pretrained",
    "model_name_or_path": "it is model.pretrained",
}
"""What people know from elsewhere, and what it is here. Only said of keys that are not there."""


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        line: what, where, found, expected or nearest.
        code: exit code that it alone would lead to.
    """

    line: str
    code: int = SETTING


def complain(problems: Sequence[Problem]) -> int:
    """Print a line for each; returns the exit code: that of a wrong setting, if there is one."""
    if os.environ.get("ZOO_DEBUG") and (error := sys.exception()):
        raise error
    for problem in problems:
        print(f"zoo: {problem.line}", file=sys.stderr)
    return min(problem.code for problem in problems)


def as_error(problems: Sequence[Problem]) -> UserError:
    """What `complain` prints, as an exception."""
    kind = {DATA: DataError, MISSING: MissingInputError}.get(min(p.code for p in problems), ConfigError)
    return kind("\n".join(problem.line for problem in problems))


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """ "; did you mean …?" where one of the known words resembles it, else a full stop."""
    near = nearest_word(word, known)
    return f"; did you mean {prefix}{near}?" if near else "."


def nearest_word(word: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    same = {name.lower().replace("-", "_"): name for name in names}
    if (simple := word.lower().replace("-", "_")) in same:
        return same[simple]
    begun = [name for name in names if len(word) > 2 and name.startswith(word)]
    return begun[0] if len(begun) == 1 else next(iter(difflib.get_close_matches(word, names, 1, 0.6)), "")


def shown(value: object, longest: int = 60) -> str:
    """A value as it is quoted in a line: text in quotes, the rest as YAML has it."""
    named = {None: "null", True: "true", False: "false"}
    text = named[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
