"""16 bits: what is clipped is the gradient itself, whatever the optimizer."""

from functools import partial
from typing import Any

import pytest
import torch
from contract_cases import trainer, weights
from torch import nn
from toy import Toy, ToyData

from zoo.callbacks.gradients import Gradients
from zoo.errors import ConfigError
from zoo.loop.precision import UnscaledFirst


def trained(fused: bool, clip: float | None) -> torch.Tensor:
    task = Toy([nn.Linear(3, 1)], optimizer=partial(torch.optim.AdamW, lr=0.1, fused=fused))
    plugin = UnscaledFirst("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10))
    trainer(5, plugins=[plugin], gradient_clip_val=clip).fit(task, datamodule=ToyData())
    return weights(task)


@pytest.mark.parametrize("clip", [0.1, None])
def test_a_fused_optimizer_trains_as_the_plain_one_with_scaled_losses(clip: float | None):
    assert torch.allclose(trained(fused=True, clip=clip), trained(fused=False, clip=clip), atol=1e-5)


def test_the_norm_that_is_clipped_is_that_of_the_unscaled_gradient():
    def norm(*plugins: Any) -> float:
        t = trainer(1, plugins=[*plugins])
        t.fit(Toy([nn.Linear(3, 1)], optimizer=partial(torch.optim.AdamW, lr=0.1, fused=True)), datamodule=ToyData())
        return float(t.callback_metrics["train/grad_norm"])

    scaled = norm(UnscaledFirst("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10)))
    assert scaled == pytest.approx(norm(), rel=0.01)


@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.AdamW, lr=0.1, fused=True, weight_decay=0.5), partial(torch.optim.SGD, lr=0.1, momentum=0.9)],
)
def test_a_norm_that_overflows_while_the_gradients_do_not_moves_no_weight(
    optimizer: Any, monkeypatch: pytest.MonkeyPatch
):
    """The scaler sees finite gradients; what it says of them must not be heard alone."""
    clip, before = Gradients.on_before_optimizer_step, []

    def huge(self: Gradients, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == 2:
            before.append(weights(pl_module))
            for p in pl_module.parameters():
                p.grad.fill_(2e38)
        clip(self, trainer, pl_module, optimizer)

    monkeypatch.setattr(Gradients, "on_before_optimizer_step", huge)
    task = Toy([nn.Linear(3, 1)], optimizer=optimizer)
    plugin = UnscaledFirst("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10))
    trainer(3, plugins=[plugin]).fit(task, datamodule=ToyData())
    assert torch.equal(weights(task), before[0])
    assert plugin.scaler.get_scale() == 2.0**9


def test_the_scaler_keeps_its_findings_where_they_are_put():
    """`_per_optimizer_states` is private: no public way has the scaler leave out a step."""
    scaler, p = torch.amp.GradScaler("cpu"), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    assert [*scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values()] == [torch.zeros(1)]


def test_weights_of_16_bits_are_not_trained():
    with pytest.raises(ConfigError, match=r"network\.0\.weight: torch\.bfloat16"):
        trainer(1).fit(Toy([nn.Linear(3, 1).bfloat16()]), datamodule=ToyData())
