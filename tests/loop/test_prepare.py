"""What is drawn for a batch is the same whatever the micro-batch and the batch size, in training and in evaluation."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract_cases import trainer, weights
from torch import nn
from toy import Toy, ToyData

from zoo import streams
from zoo.loop import prepare


class Noisy(Toy):
    """Each sample gets noise of its own; `seen` is what it got, by split, step and number."""

    def __init__(self, **kwargs: Any):
        super().__init__([nn.Linear(3, 1)], **kwargs)
        self.seen: dict[tuple[str, int, int], torch.Tensor] = {}

    def prepare(self, batch: Any, draws: streams.Draws, split: Any) -> Any:
        noise = draws.each(lambda stream: torch.randn(3, generator=stream), "noise")
        self.seen |= {(split, self.global_step, i): row for i, row in zip(batch["index"], noise, strict=True)}
        return {**batch, "x": batch["x"] + noise}


def fitted(steps: int = 5, eval_batch_size: int = 8, **kwargs: Any) -> Noisy:
    task = Noisy(**kwargs)
    trainer(steps).fit(task, datamodule=ToyData(eval_batch_size=eval_batch_size))
    return task


@pytest.mark.parametrize("size", [1, 3])
def test_noise_in_training_is_the_same_whatever_the_micro_batch(size: int):
    whole, pieces = fitted(), fitted(micro_batch_size=size)
    assert torch.allclose(weights(whole), weights(pieces), atol=1e-6)
    assert all(torch.equal(whole.seen[key], noise) for key, noise in pieces.seen.items())


def test_noise_in_training_is_a_function_of_seed_step_and_sample():
    drawn = {key[1:]: noise for key, noise in fitted().seen.items() if key[0] == "train"}
    assert len(drawn) == 5 * 8
    for (step, sample), noise in drawn.items():
        stream = streams.generator(0, "sample", step, sample, "noise")
        assert torch.equal(noise, torch.randn(3, generator=stream))


@pytest.mark.parametrize("size", [1, 5, 24])
def test_noise_in_evaluation_is_a_function_of_split_and_sample(size: int):
    task = fitted(3, size)
    drawn = {sample: noise for (split, _, sample), noise in task.seen.items() if split == "validation"}
    assert len({tuple(noise.tolist()) for noise in drawn.values()}) == 24
    for sample, noise in drawn.items():
        assert torch.equal(noise, torch.randn(3, generator=streams.generator(0, "validation", sample, "noise")))
    assert task.last_metrics["loss"] == pytest.approx(fitted(3).last_metrics["loss"], rel=1e-6)


def test_what_an_evaluation_draws_by_itself_differs_from_batch_to_batch_and_comes_again():
    def drawn() -> list[float]:
        found: list[float] = []

        class Draws(Toy):
            def evaluate(self, batch: Any) -> Any:
                found.append(torch.rand(()).item())
                return super().evaluate(batch)

        trainer(0).validate(Draws([nn.Linear(3, 1)]), datamodule=ToyData(), verbose=False)
        return found

    assert len(set(drawn())) == 3
    assert drawn() == drawn()


def test_what_is_made_anew_is_pinned_for_a_gpu_only(monkeypatch: pytest.MonkeyPatch):
    pinned: list[tuple[int, ...]] = []
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self: self.ndim == 1)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(tuple(self.shape)) or self)
    for device in ("cpu", "cuda"):
        task: Any = SimpleNamespace(seed=0, global_rank=0, device=torch.device(device), prepare=lambda batch, *_: batch)
        prepare.prepared(task, {"x": torch.zeros(2, 3), "label": torch.zeros(2), "name": ["a", "b"]}, "train")
    assert pinned == [(2, 3)]


def test_memory_is_pinned_by_loaders_for_a_gpu_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    t = trainer(1)
    task = Toy([nn.Linear(3, 1)])
    t.fit(task, datamodule=ToyData())
    assert not t.train_dataloader.pin_memory
