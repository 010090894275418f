from functools import partial
from typing import Any

import pytest
import torch
from contract_cases import trainer
from torch import nn
from toy import Toy, ToyData

from zoo.loop import optim


def test_biases_and_norms_do_not_decay():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(5, 4))
    decayed, spared = optim.parameter_groups(module)
    assert {id(p) for p in decayed["params"]} == {id(module[0].weight), id(module[2].weight)}
    assert {id(p) for p in spared["params"]} == {id(module[0].bias), id(module[1].weight), id(module[1].bias)}
    assert spared["weight_decay"] == 0.0


def test_frozen_parameters_are_in_no_group():
    module = nn.Linear(3, 4)
    module.weight.requires_grad_(False)
    assert [p.shape for group in optim.parameter_groups(module) for p in group["params"]] == [torch.Size([4])]


def test_a_tied_parameter_is_in_one_group_once():
    module = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    module["b"].weight = module["a"].weight
    assert sum(len(group["params"]) for group in optim.parameter_groups(module)) == 1


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_schedule_is_that_of_transformers(schedule: str):
    """Reference: transformers.get_*_schedule_with_warmup, which starts its warm-up one step lower (at 0)."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(schedule, optimizer, num_warmup_steps=10, num_training_steps=50)
    for step in range(50):
        if step > 10:
            assert optim.lr_factor(step, 50, schedule, 10) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_the_warm_up_never_stands_at_zero_and_ends_at_the_peak():
    factors = [optim.lr_factor(step, 100, "constant", 5) for step in range(7)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


def test_the_rate_is_set_from_the_one_the_group_was_made_with():
    groups = [{"lr": 0.1}, {"lr": 0.01}]
    for factor in (0.5, 0.2):
        optim.set_lr(groups, factor)
    assert [group["lr"] for group in groups] == pytest.approx([0.02, 0.002])


# Another end --------------------------------------------------------------------------------------------------------


def schedule(kind: optim.Schedule, warmup: int = 0) -> Any:
    return lambda step, total: optim.lr_factor(step, total, kind, warmup)


@pytest.mark.parametrize("after", [5, 12])
@pytest.mark.parametrize("step", [0, 3, 8])
def test_another_end_leaves_a_constant_rate_as_it_is(step: int, after: int):
    assert optim.bent(schedule("constant", warmup=4), step, 8, after) is None


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_another_end_bends_a_falling_rate_from_the_next_step_on(kind: optim.Schedule):
    factor = schedule(kind)
    assert optim.bent(factor, 3, 8, 12) == (3, factor(3, 8), factor(3, 12))


def test_where_all_steps_are_done_the_last_rate_is_compared():
    factor = schedule("cosine")
    assert optim.bent(factor, 8, 8, 12) == (7, factor(7, 8), factor(7, 12))


def test_the_same_end_bends_nothing():
    assert optim.bent(schedule("cosine"), 3, 8, 8) is None


def test_a_rate_that_only_warms_up_for_now_is_bent_where_it_would_fall():
    factor = schedule("linear", warmup=5)
    assert optim.bent(factor, 2, 8, 12) == (6, factor(6, 8), factor(6, 12))


def test_a_shorter_warm_up_bends_the_rate_too():
    by_share = lambda step, total: optim.lr_factor(step, total, "constant", total // 2)  # noqa: E731
    assert optim.bent(by_share, 1, 8, 12) == (1, 2 / 4, 2 / 6)


def test_the_peak_is_the_rate_that_the_optimizer_is_made_with():
    assert optim.peak_lr(partial(torch.optim.SGD, lr=0.25)) == 0.25
    assert optim.peak_lr(torch.optim.AdamW) == 1e-3


@pytest.mark.parametrize(
    ("lr", "warmup", "said"),
    [
        (0.05, 0.5, []),
        (0.05, 8, []),
        (0.05, 9, ["model.warmup_steps is 9 and the run has 8 steps, so the learning rate never rises to 0.05."]),
        (1.0, 0, []),
        (1000.0, 0, ["model.optimizer.lr is 1000, and hardly any network trains above 10."]),
        (100.0, 50, ["never rises to 100.", "model.optimizer.lr is 100,"]),
    ],
)
def test_what_looks_like_a_slip_in_the_rates_is_a_line(lr: float, warmup: float, said: list[str]):
    optimizers = [torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate) for rate in (lr / 2, lr)]
    lines = list(optim.slips(optimizers, warmup, 8))
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_slips_are_told_before_the_first_step(capsys: pytest.CaptureFixture[str]):
    task = Toy([nn.Linear(3, 1)], warmup_steps=5)
    trainer(3, limit_val_batches=0).fit(task, datamodule=ToyData())
    assert "zoo: model.warmup_steps is 5 and the run has 3 steps" in capsys.readouterr().err
