"""Out of memory, seen from near: what is freed, what is recognised, who must not be cut."""

import weakref
from typing import Any

import pytest
import torch
from contract_cases import trainer, weights
from simulated_memory import Full
from torch import nn
from toy import Counts, Toy, ToyData

from zoo.errors import DoesNotFitError
from zoo.loop import recovery


def until_it_fits(attempt: Any, **kwargs: Any) -> Any:
    settings = {"size": None, "length": 8, "smaller": lambda size, said: size // 2}
    return recovery.until_it_fits(attempt, **(settings | kwargs))


def test_the_size_is_halved_until_the_attempt_gets_through():
    tried = []

    def attempt(size: int | None) -> str:
        tried.append(size)
        if (size or 8) > 2:
            raise torch.OutOfMemoryError("simulated")
        return "done"

    assert until_it_fits(attempt) == "done"
    assert tried == [None, 4, 2]


def test_what_the_failed_attempt_held_is_free_before_the_next_one():
    """Its locals, and those of the error that it was handling; even if somebody (a hook, say) keeps the error."""
    held: list[Any] = []
    kept: list[Any] = []

    def deep() -> None:
        activations = torch.zeros(3)
        held.append(weakref.ref(activations))
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    def attempt(size: int | None) -> list[Any]:
        alive = [ref() is not None for ref in held]
        if size is None:
            graph = torch.zeros(3)
            held.append(weakref.ref(graph))
            try:
                deep()
            except RuntimeError as error:
                kept.extend([error, error.__traceback__])
                raise torch.OutOfMemoryError("simulated") from error
        return alive

    assert until_it_fits(attempt) == [False, False]


def test_what_ran_out_is_said_in_few_words():
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 11.99 GiB of which 1.20 GiB is "
        "free. Including non-PyTorch memory, this process has 10.31 GiB memory in use."
    )
    assert recovery.let_go(torch.OutOfMemoryError(text)) == "CUDA out of memory. Tried to allocate 2.00 GiB"


def test_an_attempt_that_failed_elsewhere_is_repeated_here():
    answers = iter([[(None, 8), ("no memory there", 6)]])
    tried: list[int | None] = []
    failures = iter([True, False])
    until_it_fits(
        lambda size: tried.append(size), gather=lambda mine: next(answers), size=3,
        failed_anywhere=lambda result, failed: next(failures),
    )  # fmt: skip
    assert tried == [3, 1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    ],
)
def test_out_of_memory_is_recognised(error: Exception):
    assert recovery.is_out_of_memory(error)


@pytest.mark.parametrize("word", ["GET", "FIND"])
def test_a_convolution_without_an_engine_ran_out_of_memory_where_the_allocator_says_so(
    word: str, monkeypatch: pytest.MonkeyPatch
):
    """cuDNN says the same where it does not support a convolution at all."""
    counts = iter([3, 4, 4, 4, 4])
    monkeypatch.setattr(recovery, "failed_allocations", lambda: next(counts))
    tried = []

    def attempt(size: int | None) -> str:
        tried.append(size)
        if len(tried) != 2:
            raise RuntimeError(f"{word} was unable to find an engine to execute this computation")
        return "done"

    assert until_it_fits(attempt) == "done"
    assert tried == [None, 4]
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        until_it_fits(attempt)


def test_the_cpu_running_out_of_memory_really_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert recovery.is_out_of_memory(error.value)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("CUDA error: an illegal memory access")])
def test_other_errors_are_not_taken_for_it(error: Exception):
    assert not recovery.is_out_of_memory(error)
    with pytest.raises(type(error)):
        until_it_fits(lambda size: (_ for _ in ()).throw(error))


def test_only_layers_that_use_the_statistics_of_the_batch_forbid_cutting_it():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert recovery.batch_statistics(network) == "1"
    assert recovery.batch_statistics(network.eval()) is None
    assert recovery.batch_statistics(nn.Sequential(nn.GroupNorm(1, 2), nn.LayerNorm(2))) is None
    assert recovery.batch_statistics(nn.BatchNorm1d(2, track_running_stats=False).eval()) == "BatchNorm1d"


def test_a_network_with_batch_statistics_is_not_cut():
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)]
    with pytest.raises(DoesNotFitError, match=r"network\.1 normalises over the samples.*data\.batch_size"):
        trainer(3, callbacks=[Full(room=4, first_step=1)]).fit(Toy(layers), datamodule=ToyData())


def test_frozen_statistics_allow_cutting():
    class Frozen(Toy):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.network[1].eval()
            return self

    task = Frozen([nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)])
    trainer(3, callbacks=[Full(room=4, first_step=1)]).fit(task, datamodule=ToyData())
    assert task.micro_batch_size == 4


def test_a_network_that_the_forward_pass_changes_is_not_replayed():
    layers = [Counts(), nn.Linear(3, 1)]
    with pytest.raises(DoesNotFitError, match=r"has already changed network\.0\.calls"):
        trainer(3, callbacks=[Full(room=4, where="backward")]).fit(Toy(layers), datamodule=ToyData())
    task = Toy([Counts(), nn.Linear(3, 1)])
    trainer(3, callbacks=[Full(room=4, where="forward")]).fit(task, datamodule=ToyData())
    assert task.micro_batch_size == 4


def test_an_allocator_that_clears_up_all_the_time_lowers_the_micro_batch_and_not_the_result(
    monkeypatch: pytest.MonkeyPatch,
):
    undisturbed, task = Toy([nn.Linear(3, 1)]), Toy([nn.Linear(3, 1)])
    trainer(25).fit(undisturbed, datamodule=ToyData())
    counts = iter([100, 115, 118])  # at steps 10, 20 and 30: much before the run, often in it, then seldom
    monkeypatch.setattr(recovery, "allocator_retries", lambda device: next(counts))
    trainer(25).fit(task, datamodule=ToyData())
    assert task.micro_batch_size == 4
    assert torch.allclose(weights(task), weights(undisturbed), atol=1e-6)


def test_seldom_retries_of_the_allocator_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    counts, task = iter([100, 103, 106]), Toy([nn.Linear(3, 1)])
    monkeypatch.setattr(recovery, "allocator_retries", lambda device: next(counts))
    trainer(35).fit(task, datamodule=ToyData())
    assert task.micro_batch_size is None
