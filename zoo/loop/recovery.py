"""Out of memory in mid-run: the attempt is forgotten, the micro-batch halved, and the same batch replayed."""

import gc
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo import streams
from zoo.errors import DoesNotFitError, typed
from zoo.loop import microbatch, ranks
from zoo.loop.microbatch import Divide, Loss, Totals, Whole
from zoo.loop.ranks import Together
from zoo.samples import Batch

T = TypeVar("T")
_SIGNS = (
    "out of memory",  # torch's allocators, and CUDA itself where it allocates behind torch's back
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # cublasCreate without room for its handle
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",  # cudnnCreate without room for its handle
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "Unable to find a valid cuDNN algorithm",  # none whose workspace fits
    "DefaultCPUAllocator",  # "can't allocate memory", or on Windows "not enough memory"
)
LOOK_EVERY = 10
"""Steps from one look at the allocator to the next; as many retries in them are too many."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: an error after which the device is as good as before."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def let_go(error: BaseException) -> str:
    """Free what the error's frames hold (activations, the graph of the loss); returns its first line."""
    line = first_line(error)
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return line


def first_line(error: BaseException) -> str:
    """What ran out, without torch's account of who holds how much."""
    return str(error).partition("\n")[0].partition(". GPU ")[0] or type(error).__name__


def free_cache() -> None:
    """Give back what nobody holds any more: cycles of Python, and blocks that torch keeps for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def until_it_fits(
    attempt: Callable[[int | None], T],
    *,
    size: int | None,
    length: int,
    smaller: Callable[[int, str], int],
    forget: Callable[[], None] = lambda: None,
    failed_anywhere: Callable[[T | None, bool], bool] = lambda result, failed: failed,
    gather: Callable[[Any], Sequence[Any]] = lambda value: [value],
) -> T:
    """Call `attempt(size)`, and after every out-of-memory error again with a smaller size, until it gets through.

    Where several processes work on one batch, all of them finish or fail before any of them goes on; if one has
    failed, all forget and all try again with the same size.

    Args:
        attempt: must leave nothing behind that `forget` does not undo.
        size: samples at a time, to begin with; None for all.
        length: samples that this process has.
        smaller: the next size after one that did not fit, and the error's first line; it may give up by raising.
        failed_anywhere: whether the attempt failed in any process, by this process's result and whether it failed.
        gather: a value to the values of all processes; asked after a failure only.
    """
    while True:
        result, failure = tried(attempt, size)
        if not failed_anywhere(result, failure is not None):
            return result  # type: ignore[return-value]  # without a failure there is a result
        del result
        forget()
        free_cache()
        everyone = gather((failure, length))
        longest = max(count for _, count in everyone)
        size = smaller(min(size or longest, longest), next(line for line, _ in everyone if line is not None))


def tried(attempt: Callable[[int | None], T], size: int | None) -> tuple[T | None, str | None]:
    """(result, None), or (None, what was said when memory ran out). When it returns, the error is gone for good."""
    before = failed_allocations()
    try:
        return attempt(size), None
    except Exception as error:
        if not (is_out_of_memory(error) or (_may_be(error) and failed_allocations() > before)):
            raise
        return None, let_go(error)


def failed_allocations() -> int:
    """How often torch's allocator found no memory on the current GPU since the process began."""
    return int(torch.cuda.memory_stats().get("num_ooms", 0)) if torch.cuda.is_initialized() else 0


def _may_be(error: BaseException) -> bool:
    """cuDNN tries out its algorithms; where each of them finds no workspace it says the same as where none exists."""
    return isinstance(error, RuntimeError) and "unable to find an engine" in str(error)


class Retries:
    """Counts how often the allocator finds no memory, empties its cache and tries again: slow, and close to the end."""

    def __init__(self) -> None:
        self._known: int | None = None

    def fresh(self, device: torch.device) -> int:
        """Retries since the last look; 0 at the first one."""
        count = allocator_retries(device)
        before, self._known = self._known, count
        return 0 if before is None else count - before


def allocator_retries(device: torch.device) -> int:
    """Retries of torch's allocator since the process began."""
    return int(torch.cuda.memory_stats(device)["num_alloc_retries"]) if device.type == "cuda" else 0


# The kinds of work ----------------------------------------------------------------------------------------------


class Divisible(Protocol):
    """What recovery must know of a task whose batches it divides."""

    micro_batch_size: int | Literal["auto"] | None
    at_once: dict[str, int]
    retries: Retries

    @property
    def device(self) -> torch.device: ...
    @property
    def global_step(self) -> int: ...
    @property
    def global_rank(self) -> int: ...
    @property
    def is_fitting(self) -> bool: ...
    def micro_batches(self) -> tuple[int | None, Divide]: ...
    def to_device(self, piece: Batch, /) -> Batch: ...
    def cheaper(self) -> list[str]: ...
    def named_modules(self) -> Any: ...
    def named_buffers(self) -> Any: ...


def accumulate(
    task: Divisible,
    batch: Batch,
    *,
    loss: Callable[[Batch], Loss],
    backward: Callable[[Tensor], None],
    stream: tuple[streams.Part, ...],
    counts: Mapping[str, Tensor] | None,
    parameters: Sequence[nn.Parameter],
    together: Together,
) -> Totals:
    """`microbatch.accumulate` and `finish`; where memory runs out, of smaller micro-batches of the same batch.

    Returns the totals over all processes.
    """
    before = _versions(task)
    start, divide = task.micro_batches()
    whole: Whole | None = None

    def attempt(size: int | None) -> Totals:
        return microbatch.accumulate(
            batch, at_most=size, loss=loss, backward=backward, to_device=task.to_device, stream=stream, counts=counts,
            divide=divide,
        )  # fmt: skip

    def failed_anywhere(totals: Totals | None, failed: bool) -> bool:
        nonlocal whole
        whole = microbatch.whole(totals, parameters, together)
        return whole is None

    def forget() -> None:
        for p in parameters:
            p.grad = None

    def smaller(size: int, said: str) -> int:
        task.micro_batch_size = half = _half(task, "training", size, said)
        changed = (name for name, version in _versions(task).items() if version != before.get(name))
        for name in filter(None, ranks.gather(next(changed, None))):
            raise cannot_replay(task, name, said)
        return half

    if ranks.is_alone():  # a trial, which wants to know
        totals = attempt(start)
        whole = microbatch.whole(totals, parameters, together)
    else:
        totals = until_it_fits(
            attempt, size=start, length=microbatch.batch_length(batch), smaller=smaller, forget=forget,
            failed_anywhere=failed_anywhere, gather=ranks.gather,
        )  # fmt: skip
    assert whole is not None
    microbatch.finish(totals, whole, parameters)
    return whole.totals


def in_micro_batches(
    task: Divisible,
    what: Literal["evaluation", "prediction"],
    batch: Batch,
    work: Callable[[Batch], T],
    *stream: streams.Part,
) -> list[T]:
    """What `work` makes of the batch, or of its micro-batches from where on memory has run out.

    What it draws from the global generators is a function of `stream` and the number of the micro-batch's first sample.
    """

    def attempt(size: int | None) -> list[T]:
        results = []
        for start, piece in microbatch.cut(batch, size):
            with streams.seeded(*stream, what, microbatch.first_sample(piece, start)):
                results.append(work(task.to_device(piece)))
        return results

    def smaller(size: int, said: str) -> int:
        task.at_once[what] = half = _half(task, what, size, said)
        return half

    return until_it_fits(attempt, size=task.at_once.get(what), length=microbatch.batch_length(batch), smaller=smaller)


def update(task: Divisible, optimizer: Any) -> None:
    """The optimizer's step. It cannot be replayed: where memory runs out, some weights may be updated already.

    Raises:
        DoesNotFitError: memory ran out, in any process.
    """
    if ranks.is_alone():
        optimizer.step()
        return
    _, failure = tried(lambda _: optimizer.step(), None)
    if ranks.in_any(failure is not None, task.device):
        raise no_room_for_the_step(task, next(filter(None, ranks.gather(failure))))


def ease(task: Divisible, batch: Batch) -> None:
    """Halve the micro-batch also where memory suffices only because the allocator clears up all the time."""
    if task.global_step % LOOK_EVERY:
        return
    retries, size = ranks.largest([task.retries.fresh(task.device), largest_piece(task, batch)], task.device)
    if retries >= LOOK_EVERY and size > 1 and not batch_statistics(task):
        said = f"the allocator had to free its cache {retries} times in {LOOK_EVERY} steps"
        task.micro_batch_size = _half(task, "training", size, said)


def largest_piece(task: Divisible, batch: Batch) -> int:
    """Samples of this batch that go through at a time."""
    size, divide = task.micro_batches()
    return max(divide(microbatch.batch_length(batch), size), default=0)


def _half(task: Divisible, what: str, size: int, said: str) -> int:
    """Half of a number of samples that did not fit, if the network allows it; says so in the log.

    Raises:
        DoesNotFitError: it is one sample already, or the network normalises over the samples it sees together.
    """
    if layer := batch_statistics(task):
        raise cannot_cut(task, layer, said)
    if size <= 1:
        raise one_sample_is_too_much(task, what, said)
    half = math.ceil(size / 2)
    if task.global_rank == 0:
        step = f"step {task.global_step + 1}: " if what == "training" else ""
        print(f"{step}{what} with {size} samples at a time: {said} → {half} at a time from here on", flush=True)
    return half


# Who may not be cut ---------------------------------------------------------------------------------------------


def batch_statistics(module: Divisible | nn.Module) -> str | None:
    """The first layer that now normalises over the samples it sees together; None if there is none."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            return name or type(layer).__name__
    return None


def _versions(module: Divisible) -> dict[str, int]:
    """A number for each buffer that rises when it is written to."""
    return {name: buffer._version for name, buffer in module.named_buffers()}


# What can be done about it --------------------------------------------------------------------------------------


def cannot_cut(task: Divisible, layer: str, said: str) -> DoesNotFitError:
    helps = ["frozen statistics (model.norm frozen)", "GroupNorm (model.norm group)", *task.cheaper()]
    return DoesNotFitError(
        f"out of memory ({said}). Smaller micro-batches would give a different training result, because {layer} "
        f"normalises over the samples that go through together. Try {', '.join(helps)}, or a smaller data.batch_size "
        f"(which gives a different result too).{_kept(task)}"
    )


def cannot_replay(task: Divisible, buffer: str, said: str) -> DoesNotFitError:
    return DoesNotFitError(
        f"out of memory ({said}), and the batch cannot be replayed: the forward pass has already changed {buffer}. "
        f"Set a smaller model.micro_batch_size.{_kept(task)}"
    )


def one_sample_is_too_much(task: Divisible, what: str, said: str) -> DoesNotFitError:
    helps = [*task.cheaper(), "an optimizer with less state", "a smaller network"]
    return DoesNotFitError(
        f"out of memory in {what} with one sample at a time ({said}). Try {', '.join(helps)}, or close what else uses "
        f"the GPU (nvidia-smi).{_kept(task)}"
    )


def no_room_for_the_step(task: Divisible, said: str) -> DoesNotFitError:
    return DoesNotFitError(
        f"out of memory in the optimizer's step ({said}). Some weights may be updated and others not, so the run stops "
        f"here, and nothing of this step is saved. A smaller micro-batch would not help. Try an optimizer that needs "
        f"less (AdamW with fused: true, SGD, Adafactor, 8-bit Adam), a smaller network, or close what else uses the "
        f"GPU (nvidia-smi).{_kept(task)}"
    )


def outside_of_a_step(error: BaseException) -> str:
    return (
        f"out of memory ({first_line(error)}) outside of the steps, where a smaller micro-batch cannot help. The "
        f"network or the optimizer's state may be too large. Try a smaller network, or close what else uses the memory "
        f"(nvidia-smi). Existing checkpoints are valid."
    )


def _kept(task: Divisible) -> str:
    return f" The last checkpoint is valid, and {typed('zoo fit --resume')} goes on from it." if task.is_fitting else ""
