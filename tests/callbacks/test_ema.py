"""EMA against its definition: averages are evaluated and exported, raw weights train and resume."""

from pathlib import Path
from typing import Any

import torch
from contract_cases import SGD, trainer, weights
from lightning.pytorch import Callback

import zoo
from zoo import checkpoint
from zoo.pictures.augment import Augmentation

RESNET = {"name": "resnet18", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def task(**kwargs: Any) -> zoo.ImageClassification:
    plain = {"architecture": RESNET, "image_size": 32, "augmentation": Augmentation(scale=1), "optimizer": SGD}
    return zoo.ImageClassification(**{**plain, **kwargs})


def digits() -> zoo.ImageData:
    source = "python:sklearn.datasets.load_digits"
    return zoo.ImageData(train=source, limit=30, validation_fraction=0.02, batch_size=8, num_workers=0)


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


def test_the_validation_sees_the_running_average_with_its_warm_up():
    states = States()
    trainer(4, callbacks=[zoo.EMA(0.5), states]).fit(task(), datamodule=digits())
    for name, average in states.trained[0].items():
        if average.is_floating_point():
            for step, trained in enumerate(states.trained[1:], start=1):
                decay = min(0.5, (1 + step) / (10 + step))
                average = decay * average + (1 - decay) * trained[name]
            assert torch.allclose(states.validated[-1][name], average, atol=1e-6)


def test_training_goes_on_as_if_nothing_was_averaged():
    plain, averaged = task(), task()
    trainer(9).fit(plain, datamodule=digits())
    trainer(9, callbacks=[zoo.EMA(0.5)]).fit(averaged, datamodule=digits())
    assert torch.equal(weights(plain), weights(averaged))


def test_a_resumed_run_has_the_same_weights_and_averages(tmp_path: Path):
    trainer(6, folder=tmp_path, callbacks=[zoo.EMA(0.5)]).fit(task(), datamodule=digits())
    again = trainer(6, folder=tmp_path / "again", callbacks=[zoo.EMA(0.5)])
    again.fit(task(), datamodule=digits(), ckpt_path=tmp_path / "step=3.ckpt")
    whole, resumed = (checkpoint.read(folder / "step=6.ckpt") for folder in (tmp_path, tmp_path / "again"))
    for part in ("state_dict", "averaged"):
        assert all(torch.equal(tensor, resumed[part][name]) for name, tensor in whole[part].items())


def test_a_loaded_checkpoint_has_the_averages(tmp_path: Path):
    trained = task()
    trainer(3, folder=tmp_path, callbacks=[zoo.EMA(0.5)]).fit(trained, datamodule=digits())
    content = checkpoint.read(tmp_path / "step=3.ckpt")
    trained.load_trained(content)
    assert all(torch.equal(trained.state_dict()[name], tensor) for name, tensor in content["averaged"].items())
    assert not torch.equal(content["averaged"]["network.conv1.weight"], content["state_dict"]["network.conv1.weight"])


def test_frozen_parameters_are_not_copied():
    average = zoo.EMA(0.5)
    trainer(1, callbacks=[average]).fit(task(freeze="backbone"), datamodule=digits())
    assert {name for name in average.averaged if "running" not in name} == {"network.fc.weight", "network.fc.bias"}
