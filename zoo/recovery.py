"""Out of memory in mid-run: the attempt is forgotten, the micro-batch halved, and the same batch replayed."""

import gc
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo import microbatch, streams
from zoo.errors import DoesNotFitError
from zoo.microbatch import Batch, Totals

T = TypeVar("T")
_SIGNS = (
    "out of memory",  # torch's allocators, and CUDA itself where it allocates behind torch's back
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # cublasCreate without room for its handle
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator",  # "can't allocate memory", or on Windows "not enough memory"
)
LOOK_EVERY = 10
"""Steps from one look at the allocator to the next; as many retries in them are too many."""
_SAMPLE_SIZES = ("max_length", "image_size", "max_seconds")


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
        gather: a value to the values of all processes.
    """
    while True:
        result, failure = tried(attempt, size)
        everyone = gather((failure, length))
        failures = [line for line, _ in everyone if line is not None]
        if not failures:
            return result  # type: ignore[return-value]  # without a failure there is a result
        del result
        forget()
        free_cache()
        longest = max(count for _, count in everyone)
        size = smaller(min(size or longest, longest), failures[0])


def tried(attempt: Callable[[int | None], T], size: int | None) -> tuple[T | None, str | None]:
    """(result, None), or (None, what was said when memory ran out). When it returns, the error is gone for good."""
    try:
        return attempt(size), None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None, let_go(error)


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


def accumulate(
    task: Any,
    batch: Batch,
    *,
    backward: Callable[[Tensor], None],
    stream: tuple[streams.Part, ...],
    counts: Mapping[str, Tensor] | None,
    forget: Callable[[], None],
) -> Totals:
    """`microbatch.accumulate` for the task; where memory runs out, of smaller pieces of the same batch."""
    before = _versions(task)
    start, divide = task.pieces()

    def attempt(size: int | None) -> Totals:
        return microbatch.accumulate(
            batch,
            at_most=size,
            loss=task.loss,
            backward=backward,
            place=task.place,
            stream=stream,
            counts=counts,
            divide=divide,
        )

    def smaller(size: int, said: str) -> int:
        task.micro_batch_size = half = _half(task, "training", size, said)
        changed = (name for name, version in _versions(task).items() if version != before.get(name))
        for name in filter(None, microbatch.gather(next(changed, None))):
            raise cannot_replay(task, name, said)
        return half

    length = microbatch.batch_length(batch)
    return until_it_fits(attempt, size=start, length=length, smaller=smaller, forget=forget, gather=microbatch.gather)


def in_pieces(
    task: Any,
    what: Literal["evaluation", "prediction"],
    batch: Batch,
    work: Callable[[Batch], T],
    *stream: streams.Part,
) -> list[T]:
    """What `work` makes of the batch, or of its pieces from where on memory has run out."""

    def attempt(size: int | None) -> list[T]:
        with streams.seeded(*stream, what):
            return [work(task.place(piece)) for _, piece in microbatch.cut(batch, size)]

    def smaller(size: int, said: str) -> int:
        task.at_once[what] = half = _half(task, what, size, said)
        return half

    return until_it_fits(attempt, size=task.at_once.get(what), length=microbatch.batch_length(batch), smaller=smaller)


def update(task: Any, optimizer: Any) -> None:
    """The optimizer's step. It cannot be replayed: where memory runs out, some weights may be updated already.

    Raises:
        DoesNotFitError: memory ran out, in any process.
    """
    _, failure = tried(lambda _: optimizer.step(), None)
    for said in filter(None, microbatch.gather(failure)):
        raise no_room_for_the_step(task, said)


def ease(task: Any, batch: Batch) -> None:
    """Halve the micro-batch also where memory suffices only because the allocator clears up all the time."""
    if task.global_step % LOOK_EVERY:
        return
    mine = task.retries.fresh(task.device), largest_piece(task, batch)
    retries, size = map(max, zip(*microbatch.gather(mine), strict=True))
    if retries >= LOOK_EVERY and size > 1 and not batch_statistics(task):
        said = f"the allocator had to clear up {retries} times in {LOOK_EVERY} steps"
        task.micro_batch_size = _half(task, "training", size, said)


def largest_piece(task: Any, batch: Batch) -> int:
    """Samples of this batch that go through at a time."""
    size, divide = task.pieces()
    return max(divide(microbatch.batch_length(batch), size), default=0)


def _half(task: Any, what: str, size: int, said: str) -> int:
    """Half of a number of samples that did not fit, if the network allows it; says so in the log.

    Raises:
        DoesNotFitError: it is one sample already, or the network normalises over the samples it sees together.
    """
    if layer := batch_statistics(task):
        raise cannot_cut(task, layer, said)
    if size <= 1:
        raise one_sample_is_too_much(task, what, said)
    half = math.ceil(size / 2)
    if task._trainer is None or task.trainer.is_global_zero:
        step = f"step {task.global_step + 1}: " if what == "training" else ""
        print(f"{step}{what} with {size} samples at a time: {said} → {half} at a time from here on", flush=True)
    return half


# Who may not be cut ---------------------------------------------------------------------------------------------


def batch_statistics(module: nn.Module) -> str | None:
    """The first layer that now normalises over the samples it sees together; None if there is none."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            return name or type(layer).__name__
    return None


def _versions(module: nn.Module) -> dict[str, int]:
    """A number for each buffer that rises when it is written to."""
    return {name: buffer._version for name, buffer in module.named_buffers()}


# What can be done about it --------------------------------------------------------------------------------------


def cannot_cut(task: Any, layer: str, said: str) -> DoesNotFitError:
    own = ["a smaller model.norm_batch_size"] if hasattr(task, "norm_batch_size") else []
    helps = ["its statistics frozen", "GroupNorm in its place", *own, *_cheaper(task)]
    return DoesNotFitError(
        f"out of memory ({said}), and the batch may not be cut smaller: {layer} normalises over the samples that go "
        f"through together, so that smaller pieces would be another training. What helps: {', '.join(helps)}, or a "
        f"smaller data.batch_size (another training too).{_kept(task)}"
    )


def cannot_replay(task: Any, buffer: str, said: str) -> DoesNotFitError:
    return DoesNotFitError(
        f"out of memory ({said}), and the batch cannot be replayed: the forward pass has already changed {buffer}. "
        f"Set a smaller model.micro_batch_size.{_kept(task)}"
    )


def one_sample_is_too_much(task: Any, what: str, said: str) -> DoesNotFitError:
    helps = [*_cheaper(task), "an optimizer with less state", "a smaller network"]
    return DoesNotFitError(
        f"out of memory in {what} with one sample at a time ({said}). What helps: {', '.join(helps)}, or closing what "
        f"else is on the card (nvidia-smi).{_kept(task)}"
    )


def no_room_for_the_step(task: Any, said: str) -> DoesNotFitError:
    return DoesNotFitError(
        f"out of memory in the optimizer's step ({said}). Some weights may be updated and others not, so the run stops "
        f"here, and nothing of this step is saved; a smaller micro-batch would not help. What helps: an optimizer that "
        f"needs less (AdamW with fused: true, SGD, Adafactor, 8 bits), a smaller network, or closing what else is on "
        f"the card (nvidia-smi).{_kept(task)}"
    )


def outside_of_a_step(error: BaseException) -> str:
    return (
        f"out of memory ({first_line(error)}) outside of the steps, where no smaller piece can help: the network or "
        f"the optimizer's state may be too large. What helps: a smaller network, or closing what else uses the memory "
        f"(nvidia-smi). Checkpoints that are there are whole."
    )


def _cheaper(task: Any) -> list[str]:
    """The task's own knobs that make a sample need less."""
    sizes = [f"a smaller model.{name} (now {getattr(task, name)})" for name in _SAMPLE_SIZES if hasattr(task, name)]
    return [*([] if task.gradient_checkpointing else ["model.gradient_checkpointing true"]), *sizes]


def _kept(task: Any) -> str:
    training = task._trainer is not None and task.trainer.state.fn == "fit"
    return " The checkpoint saved last is whole: zoo fit --resume goes on from it." if training else ""
