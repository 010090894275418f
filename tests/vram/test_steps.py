"""Planned steps of real tasks against the same steps run, as the CPU's allocator saw them."""

import functools
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

import zoo
from zoo.loop import planned, probe
from zoo.vram.sandbox import Sandbox

ADAMW = functools.partial(torch.optim.AdamW, lr=1e-4)


class Tokenizer:
    bos_token_id = eos_token_id = 1

    def __len__(self) -> int:
        return 2000


def text(packing: Any = "concat", **settings: Any) -> zoo.CausalLM:
    small = {"model_type": "gpt2", "n_layer": 4, "n_embd": 128, "n_head": 4, "vocab_size": 2000}
    task = zoo.CausalLM(None, small, "none", max_length=128, packing=packing, optimizer=ADAMW, **settings)
    vars(task)["tokenizer"] = Tokenizer()
    return task


NARROW = {"name": "resnet18", "channels": (16, 32, 64, 128)}
"""Its weights are small beside the images, and so is what oneDNN takes of memory to lay them out anew."""


def image(name: Any, side: int, **settings: Any) -> zoo.ImageClassification:
    task = zoo.ImageClassification(None, name, image_size=side, **{"optimizer": ADAMW, **settings})
    task._learn([str(i) for i in range(10)])
    return task


CASES: dict[str, Callable[[], Any]] = {
    "text, packed": lambda: text(True),
    "text, concat": text,
    "text, checkpointed": lambda: text(gradient_checkpointing=True),
    "ViT": lambda: image("vit_tiny_patch16_224", 224),
    "ViT, checkpointed": lambda: image("vit_tiny_patch16_224", 224, gradient_checkpointing=True),
    "ResNet": lambda: image(NARROW, 128),
    "ResNet, head only, SGD": lambda: image(
        NARROW, 128, freeze="backbone", optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    ),
}


def plan(task: Any, size: int, batch: int) -> Any:
    sandbox = Sandbox(None)
    with sandbox.entered(), sdpa_kernel(SDPBackend.MATH):  # torch chooses no faster one for tensors without content
        plan = planned.Planned(task, sandbox, "32-true", 1.0)
        plan.begin()
        return plan.training(size, batch)


def measured(task: Any, size: int, batch: int) -> int:
    """Bytes at the peak of a second step."""
    task.trainer = SimpleNamespace(
        global_step=0, global_rank=0, world_size=1, seed=0, is_global_zero=False, precision="32-true",
        precision_plugin=SimpleNamespace(forward_context=torch.enable_grad),
    )  # fmt: skip
    task.configure_model()
    task.train()
    vars(task)["to_device"] = lambda piece: {  # a copy, as on a GPU
        name: x.clone() if isinstance(x, torch.Tensor) else x for name, x in task.trim(piece).items()
    }
    with probe.put_back(task), sdpa_kernel(SDPBackend.MATH):
        probe.training(task, batch, size)
        task.optimizers().register_step_pre_hook(
            lambda o, *_: torch.nn.utils.clip_grad_norm_([p for g in o.param_groups for p in g["params"]], 1.0) and None
        )
        example = task.example_batch(min(2 * size, batch))
        for p in task.parameters():
            p.grad = None
        state = [x for s in task.optimizers().state.values() for x in s.values() if isinstance(x, torch.Tensor)]
        there = {
            x.untyped_storage()._cdata: x.untyped_storage().nbytes()
            for x in [*task.parameters(), *task.buffers(), *state]
        }
        gc.collect()
        return sum(there.values()) + _most(lambda: task.training_step(example, 0))


def _most(work: Callable[[], None]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        work()
    now = most = 0
    kineto: Any = found.profiler
    for event in sorted(kineto.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("pieces", [2, 1], ids=["in two pieces", "in one piece"])
@pytest.mark.parametrize("name", CASES)
def test_a_planned_step_takes_what_a_real_one_does_within_one_percent(name: str, pieces: int):
    batch = 32 if "ResNet" in name else 8
    size = batch // pieces
    found, wanted = plan(CASES[name](), size, batch).allocated, measured(CASES[name](), size, batch)
    assert abs(found - wanted) <= 0.01 * wanted
