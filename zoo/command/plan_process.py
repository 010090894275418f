"""The process that makes a plan: `python -m zoo.command.plan_process` takes a question in JSON and answers in lines.

A process of its own, as what the dispatcher is told of CUDA holds for all of it.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from zoo.callbacks.ema import EMA
from zoo.command.silenced_warnings import quiet
from zoo.errors import ConfigError, UserError
from zoo.loop import microbatch
from zoo.loop.planned import Planned
from zoo.loop.probe import micro_batch_sizes
from zoo.runs import run
from zoo.samples import ImageSample, SpeechSample, TextSample
from zoo.vram.allocator import Peak, rounded
from zoo.vram.kernels import CUBLAS
from zoo.vram.sandbox import Sandbox

_SHORTER = {"max_length": 64, "image_size": 32, "max_seconds": 1.0}
"""Sizes of a sample, and the least that is proposed."""
_TRIES = 6
Say = Callable[[dict[str, Any]], None]


class Plan:
    """One config on one GPU.

    Args:
        question: model, precision, clip_norm, ema, batch, eval_batch, budget, capability, labels; all plain.
    """

    def __init__(self, question: dict[str, Any], changes: dict[str, Any] | None = None):
        self.question = question
        model, changes = dict(question["model"]), dict(changes or {})
        self.precision = changes.pop("trainer.precision", question["precision"])
        model["init_args"] = {**model.get("init_args", {}), **changes}
        self.task: Any = run.make_task(model)
        self.sandbox = Sandbox(tuple(question["capability"]))
        self.seen: dict[tuple[int, int], Peak] = {}

    @contextmanager
    def open(self) -> Iterator["Plan"]:
        with self.sandbox.entered(), _explained(self.task):
            self.task.setup_from_data(_invented(self.task, self.question["labels"]))
            ema = EMA() if self.question["ema"] else None
            self.steps = Planned(self.task, self.sandbox, self.precision, self.question["clip_norm"], ema)
            self.steps.begin()
            yield self

    @property
    def fixed_size(self) -> int | None:
        """Samples at a time that batch statistics ask for; None where the planner may choose."""
        size, divide = self.task.micro_batches()
        return (size or self.question["batch"]) if divide is microbatch.exact_sizes else None

    def training(self, size: int, batch: int | None = None) -> Peak:
        """A step of `batch` samples; the config's, if it is not said."""
        key = size, max(size, batch or self.question["batch"])
        if key not in self.seen:
            self.seen[key] = self.steps.training(*key)
        return self.seen[key]

    def fits(self, size: int, batch: int | None = None) -> bool:
        return needed(self.training(size, batch)) <= self.question["budget"]

    def largest_piece(self) -> int:
        """The largest piece of an even cut of the batch that fits; 0 for none."""
        batch = self.question["batch"]
        if self.fits(batch):
            return int(batch)
        if not self.fits(1):
            return 0
        sizes = micro_batch_sizes(batch)
        good, bad = 0, len(sizes) - 1
        while bad - good > 1:
            low, high = (needed(self.training(sizes[i])) for i in (good, bad))
            guess = sizes[good] + (self.question["budget"] - low) / max(1, high - low) * (sizes[bad] - sizes[good])
            at = max((i for i in range(good + 1, bad) if sizes[i] <= guess), default=good + 1)
            good, bad = (at, bad) if self.fits(sizes[at]) else (good, at)
        return sizes[good]

    def largest_batch(self) -> int:
        """As many samples as fit at once, if there were so many: seen to fit, and within two hundredths of the end."""
        good, bad = int(self.question["batch"]), 2 * int(self.question["batch"])
        for _ in range(_TRIES):
            low, high = (needed(self.training(n, n)) for n in (good, bad))
            guess = int(0.99 * (good + (self.question["budget"] - low) * (bad - good) / max(1, high - low)))
            if high <= self.question["budget"]:
                good, bad = bad, max(bad + 1, int(guess * 1.02))
            elif guess <= good:
                break
            else:
                at = min(max(guess, good + 1), bad - 1)
                good, bad = (at, bad) if self.fits(at, at) else (good, at)
        return good


def needed(peak: Peak) -> int:
    """Bytes reserved, those of cuBLAS included."""
    return peak.reserved + rounded(CUBLAS)


def told(peak: Peak, size: int) -> dict[str, Any]:
    parts = {**peak.parts, "workspace": peak.parts.get("workspace", 0) + CUBLAS}
    return {"size": size, "allocated": peak.allocated + CUBLAS, "reserved": needed(peak), "parts": parts}


def answer(question: dict[str, Any], say: Say) -> dict[str, Any]:
    """The whole plan."""
    asked, batch = question["micro_batch_size"], question["batch"]
    found: dict[str, Any] = {}
    say({"progress": "the network"})
    with Plan(question).open() as plan:
        fixed = plan.fixed_size
        say({"progress": "training"})
        size = fixed if fixed else plan.largest_piece()
        if fixed and not plan.fits(fixed):
            size = 0
        as_it_is = fixed or (min(asked, batch) if isinstance(asked, int) else size or 1)
        found |= {
            "fixed": bool(fixed), "fits": size, "training": told(plan.training(as_it_is), as_it_is),
            "as_it_is_fits": plan.fits(as_it_is),
        }  # fmt: skip
        if question.get("only_what_fits"):
            return found
        if size == batch and not fixed:
            say({"progress": "the largest number of samples at a time"})
            found["largest"] = plan.largest_batch()
        say({"progress": "evaluation"})
        found["evaluation"] = _evaluation(plan)
        rows = sorted({(s, b) for s, b in plan.seen if b == max(s, batch)})
        found["table"] = [told(plan.seen[key], key[0]) for key in rows]
        candidates = _candidates(plan)
    base = found["training"]["reserved"]
    found["changes"] = []
    for changes in candidates:
        say({"progress": ", ".join(f"{key} {value}" for key, value in changes.items())})
        if (peak := _with(question, changes, as_it_is)) is not None:
            found["changes"].append({"changes": changes, "saved": base - needed(peak), "reserved": needed(peak)})
    found["changes"].sort(key=lambda one: -one["saved"])
    if not size:
        found["cure"] = _cure(question, found["changes"], as_it_is, say)
    return found


def _evaluation(plan: Plan) -> dict[str, Any] | None:
    size = plan.question["eval_batch"]
    try:
        return told(plan.steps.evaluation(size), size)
    except ConfigError:
        raise
    except (RuntimeError, TypeError, ValueError):  # it looks at what the network says
        return None


def _candidates(plan: Plan) -> list[dict[str, Any]]:
    """Changes that may save memory, each by itself."""
    arguments = {**vars(plan.task), **plan.question["model"].get("init_args", {})}
    found: list[dict[str, Any]] = []
    if not arguments.get("gradient_checkpointing"):
        found.append({"gradient_checkpointing": True})
    if plan.precision == "32-true":
        found.append({"trainer.precision": "16-mixed"})
    for name, least in _SHORTER.items():
        value = arguments.get(name) or getattr(getattr(plan.task, "preprocessing", None), "size", None)
        if name in arguments and isinstance(value, (int, float)) and value / 2 >= least:
            found.append({name: type(value)(value / 2)})
    freeze = plan.question["freeze"]
    if freeze and arguments.get("freeze", "none") not in (freeze, "encoder", "backbone"):
        found.append({"freeze": freeze})
    return found


def _with(question: dict[str, Any], changes: dict[str, Any], size: int) -> Peak | None:
    """The peak with these changes; None where the network does not take them."""
    try:
        with Plan(question, changes).open() as plan:
            return plan.training(plan.fixed_size or size)
    except UserError:
        return None


def _cure(question: dict[str, Any], ranked: list[dict[str, Any]], size: int, say: Say) -> dict[str, Any] | None:
    """The fewest of the changes, best first, with which one sample fits; None if all of them do not suffice."""
    changes: dict[str, Any] = {}
    for one in ranked:
        if one["saved"] <= 0:
            break
        changes |= one["changes"]
        say({"progress": f"{len(changes)} changes together"})
        peak = _with(question, changes, size)
        if peak is not None and needed(peak) <= question["budget"]:
            return {"changes": changes, "reserved": needed(peak)}
    return None


def _invented(task: Any, labels: int) -> list[Any]:
    """Samples to set the task up with, where no data is read."""
    kind = type(task).sample_type.__name__
    if kind == "SpeechSample":
        return [SpeechSample(None, "abcdefghijklmnopqrstuvwxyz '")]
    if kind in ("ImageSample", "ImageRequest"):
        return [ImageSample(None, str(i)) for i in range(labels)]
    return [TextSample("a text", str(i)) for i in range(labels)]


@contextmanager
def _explained(task: Any) -> Iterator[None]:
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ConfigError(
            f"{type(task).__name__} looks at the numbers that it computes ({error}), which a plan does not have. "
            f"model.micro_batch_size auto finds out on the GPU what fits."
        ) from error


def main() -> int:
    torch.set_num_threads(1)
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=lines, flush=True)

    try:
        with quiet():
            say({"plan": answer(json.load(sys.stdin), say)})
    except UserError as error:
        say({"error": str(error), "kind": type(error).__name__})
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
