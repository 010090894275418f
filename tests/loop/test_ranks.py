"""What processes tell each other: two real ones over gloo."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from zoo.loop import microbatch, ranks, recovery
from zoo.loop.ranks import Together

CPU = torch.device("cpu")


def test_small_tensors_share_a_bucket_large_ones_have_their_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks, "_BUCKET", 40)
    tensors = [torch.zeros(n, dtype=kind) for n, kind in ((4, torch.float), (6, torch.float), (1, torch.float))]
    tensors += [torch.zeros(2, dtype=torch.half), torch.zeros(100), torch.zeros(3)]
    found = list(ranks.buckets(tensors))
    assert [[t.numel() for t in bucket] for bucket in found] == [[4, 6], [1], [2], [100], [3]]


def test_one_process_waits_for_nobody():
    assert ranks.gather(3) == [3]
    assert ranks.in_any(True, CPU)
    assert Together().add({"a": torch.tensor(2.0)}, CPU, [True, False]) == ({"a": 2.0}, [True, False])


def talk(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    messages: list[Any] = []
    gather = ranks.gather
    ranks.gather = lambda value: messages.append(value) or gather(value)  # type: ignore[assignment]
    together = Together()
    mine = {"a": 1.0, "b": torch.tensor(2.0)} if rank == 0 else {}
    for _ in range(3):  # the second process has no sample, and does not know the names
        assert together.add(mine, CPU, [rank == 0, False]) == ({"a": 1.0, "b": 2.0}, [True, False])
    assert len(messages) == 1
    assert together.add({"c": rank + 1.0}, CPU)[0] == {"a": 0.0, "b": 0.0, "c": 3.0}
    assert ranks.in_any(rank == 1, CPU)
    assert not ranks.in_any(False, CPU)
    assert ranks.largest([rank, 3 - rank], CPU) == [1, 3]
    retries = SimpleNamespace(fresh=lambda device: 10 * rank)
    task = SimpleNamespace(
        global_step=10, retries=retries, device=CPU, micro_batch_size=None, global_rank=rank, named_modules=list,
        micro_batches=lambda: (None, microbatch.even_sizes),
    )  # fmt: skip
    recovery.ease(task, {"x": [0] * (8 - 6 * rank)})  # one has the samples, the other one the retries
    assert task.micro_batch_size == 4
    assert len(messages) == 2
    tensors = [torch.full((n, 2), float(rank + 1)) for n in (3, 4_000_000, 5, 6)]
    ranks.add_up(tensors)
    assert all(bool((t == 3).all()) for t in tensors)
    with ranks.alone():
        assert ranks.count() == 1
        assert together.add({"d": 1.0}, CPU)[0] == {"d": 1.0}
    dist.destroy_process_group()


def test_two_processes_add_what_they_have_and_agree_on_names_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(talk, (str(tmp_path),), nprocs=2)
