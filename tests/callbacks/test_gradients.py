from pathlib import Path

import pytest
import torch
from contract_cases import trainer

import zoo
from zoo.errors import ConfigError


def fit(task: zoo.Task, text_file: Path, **settings) -> None:
    trainer(1, limit_val_batches=0, **settings).fit(task, datamodule=zoo.TextData(train=str(text_file)))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0)


def test_the_gradient_of_the_whole_batch_is_clipped_to_the_norm(tiny_gpt2: Path, text_file: Path):
    def moved(clip: float | None) -> torch.Tensor:
        task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, micro_batch_size=3, optimizer=sgd)
        task.configure_model()
        before = [p.detach().clone() for p in task.parameters()]
        fit(task, text_file, gradient_clip_val=clip)
        return torch.cat([(a.detach() - b).flatten() for a, b in zip(task.parameters(), before, strict=True)])

    free, clipped = moved(None), moved(0.01)
    assert clipped.norm() == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(clipped, free * 0.01 / free.norm(), atol=1e-6)


def test_a_loss_without_any_gradient_is_refused(tiny_gpt2: Path, text_file: Path):
    class Detached(zoo.CausalLM):
        def loss(self, batch):
            total, count = super().loss(batch)
            return total.detach(), count

    with pytest.raises(ConfigError, match="no gradient at all"):
        fit(Detached(pretrained=str(tiny_gpt2), max_length=16, optimizer=sgd), text_file)


def test_tensors_that_no_gradient_reaches_are_named(tiny_gpt2: Path, text_file: Path, capsys):
    class Spare(zoo.CausalLM):
        def configure_model(self):
            super().configure_model()
            self.spare = torch.nn.Parameter(torch.zeros(3))

    fit(Spare(pretrained=str(tiny_gpt2), max_length=16, optimizer=sgd), text_file)
    assert "no gradient reaches 1 of" in capsys.readouterr().out


def test_a_network_that_is_frozen_as_a_whole_is_refused(tiny_gpt2: Path, text_file: Path):
    class Frozen(zoo.CausalLM):
        def configure_model(self):
            super().configure_model()
            self.network.requires_grad_(False)

    with pytest.raises(ConfigError, match="nothing to train"):
        fit(Frozen(pretrained=str(tiny_gpt2), max_length=16, optimizer=sgd), text_file)
