"""The largest micro-batch that fits, found by trying: real steps with the largest batch, then everything put back."""

import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo import streams
from zoo.files import cache as kept
from zoo.loop import microbatch, ranks, recovery
from zoo.loop.descent import Trained
from zoo.loop.microbatch import Loss
from zoo.loop.prepare import Prepares, prepared
from zoo.loop.written import is_written
from zoo.samples import Batch
from zoo.vram.gpus import MARGIN

Fits = Callable[[int], int | None]
"""Samples at a time to the peak in bytes, or None if they do not fit."""
_MB, _GB = 10**6, 10**9
_FREE_STEP = 2**28
_limited: set[torch.device] = set()
"""Devices on which this process has set a limit."""


# The search -----------------------------------------------------------------------------------------------------


def micro_batch_sizes(batch: int) -> list[int]:
    """Sizes of the largest micro-batch over all even cuts of a batch, rising: 16 gives 1, 2, 3, 4, 6, 8, 16."""
    return sorted({math.ceil(batch / pieces) for pieces in range(1, batch + 1)})


def largest(fits: Fits, batch: int, first: int = 1) -> tuple[int, int] | None:
    """The largest micro-batch of an even cut that fits, and its peak in bytes; None if not even one sample does.

    Doubles while it fits, so that no try needs much more than twice of what is there, then bisects. What it returns
    has been tried.

    Args:
        first: the size to begin with, if somebody has an idea.
    """
    sizes, peaks = micro_batch_sizes(batch), dict[int, int]()
    good, bad, at = -1, len(sizes), max((i for i, size in enumerate(sizes) if size <= first), default=0)
    while good + 1 < bad:
        peak = fits(sizes[at])
        if peak is None:
            bad = at
        else:
            good, peaks[at] = at, peak
        doubled = next((i for i, size in enumerate(sizes) if good >= 0 and size >= 2 * sizes[good]), len(sizes) - 1)
        at = doubled if good < doubled < bad else (good + bad) // 2
    return (sizes[good], peaks[good]) if good >= 0 else None


def describe(batch: int, size: int | None) -> str:
    """How a batch is cut: "8 × 2 = batch 16", "3 + 2 × 2 = batch 7"."""
    sizes = microbatch.even_sizes(batch, size)
    counts = {n: sizes.count(n) for n in dict.fromkeys(sizes)}
    return " + ".join(f"{n} × {k}" if k > 1 else f"{n}" for n, k in counts.items()) + f" = batch {batch}"


# The measure ----------------------------------------------------------------------------------------------------


def limit_process(device: torch.device, limit: int | None) -> None:
    """Have torch's allocator refuse what goes beyond `limit` bytes, as a GPU of that size would; None for no limit.

    The context of CUDA (0.3 to 0.5 GB) is not torch's and comes on top.
    """
    if device.type != "cuda" or (limit is None and device not in _limited):
        return
    _limited.add(device)  # the limit is the process's, and the next trainer in a notebook may have another one or none
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(1.0 if limit is None else min(1.0, limit / total), device)


def budget(device: torch.device, limit: int | None) -> int:
    """Bytes that torch may reserve on the device now, with a margin kept; on a CPU the limit itself."""
    if device.type != "cuda":
        assert limit is not None
        return limit
    free, total = torch.cuda.mem_get_info(device)
    there = free + torch.cuda.memory_reserved(device)
    return min(there - int(MARGIN * total), limit or total)


def peak(work: Callable[[], None], device: torch.device, held: Iterable[Tensor] = ()) -> int | None:
    """Bytes that were reserved at most while `work` ran, all that was there before included; None if it ran out.

    Args:
        held: what was there before; on a GPU torch knows by itself.
    """
    recovery.free_cache()
    if device.type != "cuda":
        meter = CpuMeter(held)
        with meter:
            _, failure = recovery.tried(lambda _: work(), None)
        return meter.peak if failure is None else None
    torch.cuda.reset_peak_memory_stats(device)
    _, failure = recovery.tried(lambda _: work(), None)
    reserved = torch.cuda.max_memory_reserved(device)
    recovery.free_cache()
    return reserved if failure is None else None


class CpuMeter(TorchDispatchMode):
    """Bytes of the tensors in `held` and of those that are made inside and still alive: what a GPU would hold."""

    def __init__(self, held: Iterable[Tensor]):
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()
        for tensor in held:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._remove, key, size).atexit = False

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


# The trial ------------------------------------------------------------------------------------------------------


class Probed(Trained, Prepares, Protocol):
    """What a probe must know of a task."""

    network: Any
    gradient_checkpointing: bool
    compile_network: bool

    def configure_optimizers(self) -> Any: ...
    def training_step(self, batch: Batch, batch_idx: int, /) -> None: ...
    def evaluate(self, batch: Batch, /) -> Loss: ...
    def predict_batch(self, batch: Batch, /) -> Any: ...
    def example_batch(self, n: int, /) -> Batch: ...
    def evaluation_example(self, n: int, /) -> Batch: ...
    def prediction_example(self, n: int, /) -> Batch | None: ...
    def prediction_settings(self) -> Any: ...
    def eval(self) -> Any: ...
    def modules(self) -> Iterator[Any]: ...
    def buffers(self) -> Iterator[Tensor]: ...
    def named_parameters(self) -> Any: ...


def training(task: Probed, batch: int, size: int) -> None:
    """Two steps of the largest batch, in two micro-batches where a real one has several: with all gradients there, and
    in the second step the optimizer's state too."""
    task.micro_batch_size = size
    example = prepared(task, task.example_batch(min(2 * size, batch)), "train")
    with task.trainer.precision_plugin.forward_context():
        for _ in range(2):
            task.training_step(example, 0)


def evaluation(task: Probed, size: int) -> None:
    """An evaluation of the largest batch, with the gradients and the optimizer's state of a training beside it."""
    for p in task.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    for optimizer in _listed(task.optimizers()):
        optimizer.step()
    evaluate_once(task, size)


def evaluate_once(task: Probed, size: int, mode: Callable[[], Any] = torch.inference_mode) -> None:
    task.eval()
    with mode(), task.trainer.precision_plugin.forward_context():
        task.evaluate(task.to_device(prepared(task, task.evaluation_example(size), "validation")))


def prediction(task: Probed, size: int) -> None:
    """A prediction of the largest batch, with nothing beside it but the weights."""
    task.eval()
    example = task.prediction_example(size)
    assert example is not None
    eager = torch.compiler.set_stance("force_eager")  # as the loop of predictions has it
    with torch.inference_mode(), eager, task.trainer.precision_plugin.forward_context():
        task.predict_batch(task.to_device(prepared(task, example, "predict")))


@contextmanager
def put_back(task: Probed) -> Iterator[None]:
    """Whatever is done inside leaves weights, buffers, gradients, modes and random streams as they were, bit for bit.

    Inside, nothing is logged, no hook and no other process hears of what is done, and the optimizers are new ones.
    """
    tensors = [p for p in task.parameters() if p.requires_grad] + [*task.buffers()]
    copies = [tensor.detach().to("cpu", copy=True) for tensor in tensors]
    modes = [(module, module.training) for module in task.modules()]
    size = task.micro_batch_size
    stand_ins = {
        "log": lambda *args, **kwargs: None,
        "log_dict": lambda *args, **kwargs: None,
        "manual_backward": Tensor.backward,
        "optimizers": cache(lambda: _single(task.configure_optimizers())),
    }
    vars(task).update(stand_ins)
    try:
        with streams.seeded("probe"), ranks.alone():
            yield
    finally:
        for name in stand_ins:
            delattr(task, name)
        task.micro_batch_size = size
        with torch.no_grad():
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)
        for p in task.parameters():
            p.grad = None
        for module, mode in modes:
            module.training = mode
        recovery.free_cache()


def _listed(optimizers: Any) -> list[Any]:
    return [*optimizers] if isinstance(optimizers, (list, tuple)) else [optimizers]


def _single(optimizers: Any) -> Any:
    """As `LightningModule.optimizers` gives them: one by itself, several in a list."""
    several = _listed(optimizers)
    return several if len(several) > 1 else several[0]


def probe(
    task: Probed, work: Callable[[int], None], batch: int, limit: int | None, first: int = 1
) -> tuple[int, int] | None:
    """Samples at a time with which `work` fits the task's device, and the peak; None if one sample does not.

    One sample is refused only where memory really ends; more of them also where the margin would be used up.
    """

    def fits(size: int) -> int | None:
        with put_back(task):
            found = peak(lambda: work(size), task.device, [*task.parameters(), *task.buffers()])
        return found if found is not None and (size == 1 or found <= budget(task.device, limit)) else None

    return largest(fits, batch, first)


# The choice -----------------------------------------------------------------------------------------------------


def is_possible(task: Probed) -> bool:
    """Whether there is a limit to look for, and an example to try; batch statistics fix the size."""
    has_limit = task.device.type == "cuda" or task.trainer.vram is not None
    has_example = is_written(task, "example_batch") and task.trainer.datamodule is not None
    return has_limit and has_example and recovery.batch_statistics(task) is None


def choose(task: Probed, limit: int | None) -> None:
    """Set how many samples the task takes at a time in training and in evaluation, and say so.

    Args:
        limit: trainer.vram in bytes.

    Raises:
        DoesNotFitError: not even one sample fits.
    """
    data = task.trainer.datamodule
    if batch := _share(task, data.batch_size, "train"):
        size = _found(task, "training", lambda n: training(task, batch, n), batch, limit)
        task.micro_batch_size = size if size < batch else None
    if batch := _share(task, data.eval_batch_size, "validation"):
        size = _found(task, "evaluation", lambda n: evaluation(task, n), batch, limit)
        if size < batch:
            task.at_once["evaluation"] = size


def choose_for_prediction(task: Probed, limit: int | None) -> None:
    """Set how many samples the task takes at a time in `zoo predict`, where it has an example for that."""
    batch = _share(task, task.trainer.datamodule.eval_batch_size, "predict")
    if batch and task.prediction_example(1) is not None:
        size = _found(task, "prediction", lambda n: prediction(task, n), batch, limit)
        if size < batch:
            task.at_once["prediction"] = size


def _share(task: Probed, batch_size: int, split: str) -> int:
    """Samples of the largest batch that one process gets."""
    return math.ceil(min(batch_size, len(task.trainer.datamodule.items[split])) / task.trainer.world_size)


def _found(task: Probed, what: str, work: Callable[[int], None], batch: int, limit: int | None) -> int:
    name = key(task, what, batch, limit)
    known = kept.recall("probes", name)
    plan = task.trainer.plan if what == "training" and not known else None
    planned = plan(budget(task.device, limit)) if plan else None
    if planned:
        size, peak_bytes = planned
        print(f"planned: {size} samples at a time, {_of(peak_bytes, budget(task.device, limit))}", flush=True)
    found: tuple[int, int] | None = (
        tuple(known) if known else probe(task, work, batch, limit, planned[0] if planned else 1)
    )
    everyone = ranks.gather(found)  # GPUs may differ; none may be left waiting for one that gave up
    if None in everyone or found is None:
        raise recovery.one_sample_is_too_much(task, what, "tried before the first step")
    kept.note("probes", name, found)
    size, peak_bytes = min(everyone)
    if task.trainer.is_global_zero and (what == "training" or size < batch):
        name = "micro-batch" if what == "training" else what
        print(f"{name} {describe(batch, size)} · peak {_of(peak_bytes, budget(task.device, limit))}", flush=True)
    return size


def _of(part: int, whole: int) -> str:
    size, unit = (_GB, "GB") if whole >= _GB else (_MB, "MB")
    return f"{part / size:.1f} of {whole / size:.1f} {unit}"


def key(task: Probed, what: str, batch: int, limit: int | None) -> str:
    """The name under which the result of this probe is kept: another one for anything that decides it.

    A callback may keep tensors on the device (averaged weights), so that their names belong to it.
    """
    device = task.device
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    example = task.prediction_example(1) if what == "prediction" else task.example_batch(1)
    parts = [
        what, batch, _versions(task), gpu, budget(device, limit) // _FREE_STEP if device.type == "cuda" else limit,
        type(task).__qualname__, repr(task.network), task.trainer.precision,
        repr(task.configure_optimizers()) if what != "prediction" else repr(task.prediction_settings()),
        [type(callback).__qualname__ for callback in task.trainer.callbacks],
        task.trainer.world_size, task.gradient_checkpointing, task.compile_network,
        [(name, tuple(p.shape), str(p.dtype), p.requires_grad) for name, p in task.named_parameters()],
        {name: getattr(value, "shape", None) for name, value in (example or {}).items()},
    ]  # fmt: skip
    return kept.key(repr(parts))


def _versions(task: Probed) -> dict[str, str]:
    """Of the libraries that the network's modules come from, and of zoo."""
    packages = sorted({type(module).__module__.partition(".")[0] for module in task.modules()} - {"zoo"})
    return {name: _version(name) for name in ("lightning-zoo", *packages)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a file of the user's own
        return ""
