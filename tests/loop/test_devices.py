"""What holds on a GPU as on the CPU. GPUs are hidden from the tests, unless CUDA_VISIBLE_DEVICES says which to use:

    CUDA_VISIBLE_DEVICES=0 uv run pytest -m gpu

or `uv run python tools/gpu_check.py`, which writes the results down. Where a CPU does not do what a GPU does (run out
of memory, say), it only shows that the test's own code runs. None of these has been run on a GPU yet.
"""

import subprocess
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import Case, trained, trainer, weights
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from toy import Toy, ToyData, wide

from zoo.callbacks.bad_steps import BadSteps
from zoo.loop import recovery
from zoo.models import documents, head
from zoo.models import pretrained as hf

GB = 10**9
KINDS = {
    "gpt2": {"model_type": "gpt2", "n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 64},
    "llama": {
        "model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 64,
    },
}  # fmt: skip


def on(device: torch.device, **settings: Any) -> dict[str, Any]:
    return {"accelerator": "gpu" if device.type == "cuda" else "cpu", **settings}


# Memory ----------------------------------------------------------------------------------------------------------


def test_auto_finds_a_micro_batch_below_the_limit_and_trains_the_same(device: torch.device):
    """GPU: a batch that takes some 25 GB, of samples of 3 GB each, under 12 GB."""
    on_gpu = device.type == "cuda"
    numbers, limit = (2**25, 12 * GB) if on_gpu else (2**16, 18 * 10**6)

    def fitted(**settings: Any) -> Toy:
        task = wide(numbers, **settings)
        t = trainer(2, vram=f"{limit / 10**6}MB", limit_val_batches=0, **on(device))
        t.fit(task, datamodule=ToyData())
        return task

    task = fitted(micro_batch_size="auto")
    assert 1 <= task.micro_batch_size < 8
    assert not on_gpu or torch.cuda.max_memory_reserved() <= limit
    assert torch.allclose(weights(task), weights(fitted(micro_batch_size=1)), atol=1e-6)


@contextmanager
def held_by_another_process(amount: int, device: torch.device) -> Iterator[None]:
    """So many bytes of the device's memory are gone, until the context is left."""
    code = f"import torch; x = torch.ones({amount}, dtype=torch.uint8, device='{device}'); print(len(x), flush=True)"
    command = [sys.executable, "-c", f"{code}; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{amount}\n"
        try:
            yield
        finally:
            process.communicate("\n")


class Shortage(Callback):
    """From step 2 on, another process leaves only `room` bytes of the device."""

    def __init__(self, room: int):
        self.room, self.stack = room, ExitStack()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 2:
            recovery.free_cache()
            free = torch.cuda.mem_get_info()[0] if pl_module.device.type == "cuda" else self.room + 1000
            self.stack.enter_context(held_by_another_process(max(1, free - self.room), pl_module.device))

    def on_train_end(self, *_: Any) -> None:
        self.stack.close()


def test_memory_that_another_process_takes_in_mid_run_does_not_change_the_training(device: torch.device):
    """GPU: a batch of some 3 GB, in 2 GB that are left (less what the other's context takes)."""
    on_gpu = device.type == "cuda"

    def fitted(*callbacks: Callback) -> Toy:
        task = wide(2**22 if on_gpu else 2**10, micro_batch_size=None)
        trainer(4, callbacks=[*callbacks], limit_val_batches=0, **on(device)).fit(task, datamodule=ToyData())
        return task

    whole, short = fitted(), fitted(Shortage(room=2 * GB))
    assert not on_gpu or short.micro_batch_size in (1, 2, 4)
    assert torch.allclose(weights(short), weights(whole), atol=1e-6)


def convolution(device: torch.device) -> Callable[[], Any]:
    """128 MiB in, 128 MiB out, and what cuDNN needs beside it."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(device)
    x = torch.randn(*((128, 64, 64, 64) if device.type == "cuda" else (2, 64, 8, 8)), device=device)
    return lambda: layer(x).sum().backward()


def product(device: torch.device) -> Callable[[], Any]:
    """128 MiB out, and a handle of cuBLAS."""
    x = torch.randn(2**25 // 2**10 if device.type == "cuda" else 8, 2**10, device=device, requires_grad=True)
    return lambda: (x @ torch.ones(2**10, 2**10, device=device)).sum().backward()


@pytest.mark.parametrize("make", [convolution, product], ids=lambda make: make.__name__)
@pytest.mark.parametrize("benchmark", [False, True])
def test_what_has_no_room_is_known_to_be_out_of_memory(
    device: torch.device, make: Any, benchmark: bool, monkeypatch: Any
):
    """Whatever the library says where the last MiB are gone. With all of them back, the same work gets through."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    work, held = make(device), []
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, 4 * GB / torch.cuda.get_device_properties(0).total_memory))
        while (
            recovery.tried(lambda _: held.append(torch.empty(2**24, dtype=torch.uint8, device=device)), None)[1] is None
        ):
            pass
        failures = []
        for _ in range(24):  # from no room at all to 384 MiB
            failures.append(recovery.tried(lambda _: work(), None)[1])
            held.pop()
            torch.cuda.empty_cache()
        assert failures[0] is not None
        held.clear()
        recovery.free_cache()
    assert recovery.tried(lambda _: work(), None)[1] is None


# Numbers ---------------------------------------------------------------------------------------------------------


def test_16_bits_train_as_32_do(case: Case, device: torch.device):
    """On a CPU, 16-mixed is 32-true."""
    half, single = (trained(case, of_trainer=on(device, precision=precision)) for precision in ("16-mixed", "32-true"))
    start = trained(case, steps=0, of_trainer=on(device))
    assert (half - single).norm() < 0.05 * (single - start).norm()


def test_the_gpu_trains_as_the_cpu_does(case: Case, device: torch.device):
    here, there = trained(case, of_trainer=on(device)), trained(case)
    assert (here - there).norm() < 0.01 * (there - trained(case, steps=0)).norm()


@pytest.mark.parametrize("precision", ["16-mixed", "32-true"])
@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.AdamW, lr=0.1, fused=True, weight_decay=0.5), partial(torch.optim.SGD, lr=0.1, momentum=0.9)],
    ids=["fused AdamW", "SGD"],
)
def test_a_step_that_overflows_leaves_every_weight_as_it_was(device: torch.device, optimizer: Any, precision: str):
    class Overflows(Toy):
        def loss(self, batch: Any) -> Any:
            total, count = super().loss(batch)
            return (total * torch.inf if self.global_step == 2 else total), count

    class Watch(Callback):
        seen: list[Tensor] = []  # noqa: RUF012

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.seen.append(weights(pl_module))

    watch, watch.seen = Watch(), []
    t = trainer(4, callbacks=[watch], precision=precision, **on(device))
    t.fit(Overflows([nn.Linear(3, 1)], optimizer=optimizer), datamodule=ToyData())
    moved = [not torch.equal(a, b) for a, b in zip(watch.seen, watch.seen[1:], strict=False)]
    assert moved == [True, False, True]
    bad_steps = next(callback for callback in t.callbacks if isinstance(callback, BadSteps))
    assert bad_steps.state_dict()["skipped"] == 1


@pytest.mark.parametrize("precision", ["16-mixed", "32-true"])
def test_a_deterministic_run_resumes_bit_for_bit(case: Case, device: torch.device, precision: str, tmp_path: Path):
    def fitted(folder: Path, checkpoint: Path | None = None) -> Tensor:
        task = case.task(dropout=0.2, micro_batch_size=4)
        t = trainer(6, folder=folder, deterministic=True, **on(device, precision=precision))
        t.fit(task, datamodule=case.data(), ckpt_path=checkpoint)
        return weights(task)

    whole = fitted(tmp_path)
    assert torch.equal(fitted(tmp_path / "again", tmp_path / "step=3.ckpt"), whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_bounds", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05), (torch.float16, 0.01)], ids=str
)
def test_packed_documents_give_the_gradient_of_each_by_itself(
    device: torch.device, kind: str, by_bounds: bool, dtype: torch.dtype, tolerance: float
):
    """Two rows of two documents, with the kernels that training takes; joined documents give another gradient."""
    torch.manual_seed(0)
    network = hf.build_causal_lm(hf.make_config({**KINDS[kind], "vocab_size": 300}))
    network.to(device).eval()
    assert not by_bounds or documents.adopt(network)
    ids = torch.randint(0, 300, (2, 64), device=device)
    one, twice = torch.arange(32, device=device), torch.arange(64, device=device)

    def gradient(ids: Tensor, positions: Tensor) -> Tensor:
        network.zero_grad()
        mask = {"attention_mask": documents.bounds(positions)} if by_bounds else {}
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            hidden = network.base_model(ids, position_ids=positions, **mask, use_cache=False)[0]
        hidden.float().square().sum().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    apart = gradient(ids.view(4, 32), one.repeat(4, 1))
    packed, joined = gradient(ids, one.repeat(2, 2)), gradient(ids, twice.repeat(2, 1))
    assert (packed - apart).norm() < tolerance * apart.norm()
    assert (joined - apart).norm() > 2 * tolerance * apart.norm()
    assert head.keeps_apart(network)


# Time ------------------------------------------------------------------------------------------------------------


class Waits(TorchDispatchMode):
    """Places at which the host waits for the device: on a GPU torch tells; on a CPU, what reads a number or counts."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.gpu, self.found = device.type == "cuda", Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.gpu and any(word in str(func) for word in ("_local_scalar_dense", "nonzero", "masked_select")):
            self.note()
        return func(*args, **(kwargs or {}))

    def note(self, message: object = "synchronizing", *_: Any, **__: Any) -> None:
        if "synchroniz" in str(message):
            ours = [f for f in traceback.extract_stack() if "/zoo/" in f.filename or "/lightning/" in f.filename]
            self.found[" < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in ours[::-1][:3])] += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        if not self.gpu:
            with self:
                yield
            return
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = self.note
                yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


class Watching(Callback):
    """Five steps, each from where its batch is there: what the loader does is done on the CPU anyway."""

    def __init__(self, waits: Waits):
        self.waits, self.stack = waits, ExitStack()

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if 3 <= trainer.global_step < 8:
            self.stack.enter_context(self.waits.watching())

    def on_train_batch_end(self, *_: Any) -> None:
        self.stack.close()


@pytest.mark.parametrize(("precision", "most"), [("32-true", 0), ("16-mixed", 1)])
def test_the_host_waits_for_the_device_only_where_the_scaler_reads_its_flag(
    case: Case, device: torch.device, precision: str, most: int
):
    """On a CPU, AdamW reads its counts of steps: there, the test only shows that it can see."""
    waits = Waits(device)
    t = trainer(
        9, callbacks=[Watching(waits)], precision=precision, limit_val_batches=0, log_every_n_steps=100, **on(device)
    )
    t.fit(case.task(micro_batch_size=None), datamodule=case.data())
    assert waits.found if device.type == "cpu" else sum(waits.found.values()) <= 5 * most, waits.found
