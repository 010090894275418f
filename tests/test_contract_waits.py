"""Where the host would wait for the GPU in a step, counted on the CPU: it should queue the next piece meanwhile."""

import collections
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from contract_cases import Case, trainer
from lightning.pytorch import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.models import documents

FUSED = partial(torch.optim.AdamW, lr=1e-3, fused=True)
ON_THE_HOST = {"prepare", "trim", "collate", "__next__"}
"""Functions of a step whose tensors are in host memory on a GPU too."""
ON_A_CPU_ONLY = {"_no_pair", "_layout"}
PER_PIECE = {"CausalLM": 1, "TextClassification": 2, "SpeechCTC": 6, "SpeechSeq2Seq": 4}
"""Allowed waits; 0 for other tasks. The rows of a language model's head are chosen on a CPU, and for conversations;
Whisper's, always. transformers looks whether a mask of padding masks anything, and writes through masks."""
READ = {"_local_scalar_dense", "is_nonzero", "item", "nonzero", "masked_select", "equal"}


class Waits(TorchDispatchMode):
    """Operators whose result the host reads, or whose size the device decides."""

    def __init__(self) -> None:
        super().__init__()
        self.at: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().removeprefix("aten::").partition(".")[0]
        by_flags = name in ("index", "index_put", "index_put_") and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1]
        )
        if name in READ or by_flags:
            self.note(name)
        return function(*args, **(kwargs or {}))

    def note(self, what: str) -> None:
        frame, lines = sys._getframe(1), []
        while frame is not None:
            code = frame.f_code
            if code.co_name in ON_THE_HOST | ON_A_CPU_ONLY:
                return
            if any(part in code.co_filename for part in ("/zoo/", "lightning/", "transformers/", "timm/")):
                lines.append(f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
            frame = frame.f_back  # type: ignore[assignment]
        self.at[f"{what} at {' < '.join(lines[:3])}"] += 1


@contextmanager
def uploads(waits: Waits) -> Iterator[None]:
    """Numbers that are made into tensors on a device; `torch.full` would not wait."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tensor", "as_tensor"):
            real = getattr(torch, name)

            def watched(data: Any, *args: Any, real: Any = real, **kwargs: Any) -> Tensor:
                if kwargs.get("device") is not None and not isinstance(data, Tensor):
                    waits.note("upload")
                return real(data, *args, **kwargs)

            patch.setattr(torch, name, watched)
        yield


class Watch(Callback):
    def __init__(self) -> None:
        self.steps: list[collections.Counter[str]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.waits = Waits()
        self.uploads = uploads(self.waits)
        self.uploads.__enter__()
        self.waits.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        self.waits.__exit__(None, None, None)
        self.uploads.__exit__(None, None, None)
        self.steps.append(self.waits.at)


def test_the_host_waits_for_no_piece_of_a_step(case: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(documents, "pay_off", lambda *_: True)  # as on a GPU in 16 bits
    watch = Watch()
    task = case.task(optimizer=FUSED, micro_batch_size=3)
    trainer(5, callbacks=[watch], limit_val_batches=0).fit(task, datamodule=case.data())
    waits = watch.steps[3]  # the first steps try out what the network is
    assert sum(waits.values()) <= 3 * PER_PIECE.get(case.task_class.__name__, 0), waits
