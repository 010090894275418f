"""16 bits: what is clipped is the gradient itself, whatever the optimizer."""

from functools import partial
from typing import Any

import pytest
import torch
from contract_cases import trainer, weights
from torch import nn
from toy import Toy, ToyData

from zoo.errors import ConfigError
from zoo.precision import UnscaledFirst


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


def test_weights_of_16_bits_are_not_trained():
    with pytest.raises(ConfigError, match=r"network\.0\.weight: torch\.bfloat16"):
        trainer(1).fit(Toy([nn.Linear(3, 1).bfloat16()]), datamodule=ToyData())
