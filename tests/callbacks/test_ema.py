"""EMA against its definition: averages are evaluated and exported, raw weights train and resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import SGD, trainer, weights
from lightning.pytorch import Callback

import zoo
from zoo.images.augment import Augmentation
from zoo.loop import checkpoint

RESNET = {"name": "resnet18", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


class Network:
    """A network with its data: one with batch statistics, one with tied weights."""

    def __init__(self, kind: str, model: Path, text: Path):
        self.kind, self.model, self.text = kind, model, text

    def task(self, **kwargs: Any) -> zoo.Task:
        if self.kind == "tied":
            return zoo.CausalLM(**{"pretrained": str(self.model), "max_length": 16, "optimizer": SGD, **kwargs})
        plain = {"architecture": RESNET, "image_size": 32, "augmentation": Augmentation(scale=1), "optimizer": SGD}
        return zoo.ImageClassification(**{**plain, **kwargs})

    def data(self) -> zoo.DataModule:
        if self.kind == "tied":
            return zoo.TextData(train=str(self.text), documents="lines", batch_size=7)
        source = "python:sklearn.datasets.load_digits"
        return zoo.ImageData(train=source, limit=30, validation_fraction=0.02, batch_size=8, num_workers=0)


@pytest.fixture(params=["batch statistics", "tied"])
def network(request: pytest.FixtureRequest, tiny_gpt2: Path, text_file: Path) -> Network:
    return Network(request.param, tiny_gpt2, text_file)


def state(module: zoo.Task) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class States(Callback):
    """The network's tensors after every step, and those that the validation saw."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.validated: list[dict[str, torch.Tensor]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.trained.append(state(pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.trained.append(state(pl_module))

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.validated.append(state(pl_module))


def test_the_validation_sees_the_running_average_with_its_warm_up(network: Network):
    states = States()
    trainer(4, callbacks=[zoo.EMA(0.5), states], val_check_interval=4).fit(network.task(), datamodule=network.data())
    for name, average in states.trained[0].items():
        if average.is_floating_point():
            for step, trained in enumerate(states.trained[1:], start=1):
                decay = min(0.5, (1 + step) / (10 + step))
                average = decay * average + (1 - decay) * trained[name]
            assert torch.allclose(states.validated[-1][name], average, atol=1e-6)
            assert torch.equal(average, trained[name]) == torch.equal(trained[name], states.trained[0][name])


def test_training_goes_on_as_if_nothing_was_averaged(network: Network):
    plain, averaged = network.task(), network.task()
    trainer(9, val_check_interval=2).fit(plain, datamodule=network.data())
    trainer(9, val_check_interval=2, callbacks=[zoo.EMA(0.5)]).fit(averaged, datamodule=network.data())
    assert torch.equal(weights(plain), weights(averaged))


def test_a_resumed_run_has_the_same_weights_and_averages(network: Network, tmp_path: Path):
    trainer(6, folder=tmp_path, callbacks=[zoo.EMA(0.5)]).fit(network.task(), datamodule=network.data())
    again = trainer(6, folder=tmp_path / "again", callbacks=[zoo.EMA(0.5)])
    again.fit(network.task(), datamodule=network.data(), ckpt_path=tmp_path / "step=3.ckpt")
    whole, resumed = (checkpoint.read(folder / "step=6.ckpt") for folder in (tmp_path, tmp_path / "again"))
    for part in ("state_dict", "averaged"):
        assert all(torch.equal(tensor, resumed[part][name]) for name, tensor in whole[part].items())


def test_a_loaded_checkpoint_has_the_averages(network: Network, tmp_path: Path):
    trained = network.task()
    trainer(3, folder=tmp_path, callbacks=[zoo.EMA(0.5)]).fit(trained, datamodule=network.data())
    content = checkpoint.read(tmp_path / "step=3.ckpt")
    trained.load_trained(content)
    assert all(torch.equal(trained.state_dict()[name], tensor) for name, tensor in content["averaged"].items())
    assert {*content["averaged"]} == {name for name, t in content["state_dict"].items() if t.is_floating_point()}
    assert not any(torch.equal(content["state_dict"][n], content["averaged"][n]) for n, _ in trained.named_parameters())


def test_what_was_never_trained_is_evaluated_as_it_is(network: Network):
    def measured(*callbacks: Callback) -> dict[str, float]:
        task = network.task()
        trainer(0).fit(task, datamodule=network.data())  # finds out the labels
        trainer(0, callbacks=[*callbacks]).validate(task, datamodule=network.data(), verbose=False)
        return task.last_metrics

    assert measured(zoo.EMA(0.5)) == measured()


def test_an_error_in_a_validation_leaves_the_raw_weights(network: Network):
    class Fails(Callback):
        def on_validation_batch_start(self, *_: Any) -> None:
            raise RuntimeError("simulated")

    states, task = States(), network.task()
    with pytest.raises(RuntimeError, match="simulated"):
        trainer(2, callbacks=[zoo.EMA(0.5), states, Fails()], val_check_interval=2).fit(task, datamodule=network.data())
    assert all(torch.equal(tensor, states.trained[-1][name]) for name, tensor in state(task).items())


def test_a_checkpoint_of_the_middle_of_a_validation_has_the_raw_weights_and_the_averages(
    network: Network, tmp_path: Path
):
    class Save(Callback):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / "before.ckpt")

        def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            trainer.save_checkpoint(tmp_path / "within.ckpt")

    trainer(4, callbacks=[Save(), zoo.EMA(0.5)], val_check_interval=4).fit(network.task(), datamodule=network.data())
    before, within = (checkpoint.read(tmp_path / f"{when}.ckpt") for when in ("before", "within"))
    for part in ("state_dict", "averaged"):
        assert before[part].keys() == within[part].keys()
        assert all(torch.equal(tensor, within[part][name]) for name, tensor in before[part].items())


@pytest.mark.parametrize("averages_first", [True, False])
def test_examples_shown_after_a_validation_are_of_the_weights_that_were_measured(
    network: Network, averages_first: bool
):
    class Look(Callback):
        seen: dict[str, torch.Tensor]

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.seen = state(pl_module)

    states, look = States(), Look()
    callbacks = [zoo.EMA(0.5), states, look] if averages_first else [look, states, zoo.EMA(0.5)]
    trainer(4, callbacks=callbacks).fit(network.task(), datamodule=network.data())
    assert all(torch.equal(tensor, states.validated[-1][name]) for name, tensor in look.seen.items())


def test_frozen_parameters_are_not_copied(tiny_gpt2: Path, text_file: Path):
    average, network = zoo.EMA(0.5), Network("batch statistics", tiny_gpt2, text_file)
    trainer(1, callbacks=[average]).fit(network.task(freeze="backbone"), datamodule=network.data())
    assert {name for name in average.averaged if "running" not in name} == {"network.fc.weight", "network.fc.bias"}
