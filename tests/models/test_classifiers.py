import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zoo.errors import MissingInputError
from zoo.images.preprocessing import Preprocessing
from zoo.models import classifiers

WANTED = Preprocessing(224, (0.5,) * 3, (0.5,) * 3)


def build(weights: str | None, label_count: int = 10) -> torch.nn.Module:
    source = classifiers.find("tf_efficientnet_lite0")
    return source.build(label_count, WANTED, True, weights, dropout=0.0, drop_path=0.0, norm="batch")


@pytest.mark.assets
@pytest.mark.skipif("ZOO_ASSETS" not in os.environ, reason="ZOO_ASSETS names no folder with real weights")
def test_pretrained_weights_come_from_a_file_and_the_head_is_new():
    path = Path(os.environ["ZOO_ASSETS"]) / "efficientnet-lite0" / "model.safetensors"
    network, file = build(str(path)).state_dict(), load_file(path)
    assert {name for name in file if not torch.equal(network.get(name), file[name].to(network[name].dtype))
            if not name.startswith("classifier")} == set()  # fmt: skip
    assert network["classifier.weight"].shape == (10, 1280)


def test_a_file_of_weights_that_is_not_there_is_named():
    with pytest.raises(MissingInputError, match=r"model.weights: nowhere.safetensors: no such file"):
        build("nowhere.safetensors")


def test_a_description_makes_the_same_network_without_its_source(tmp_path: Path):
    source = classifiers.find({"name": "resnet18", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})
    again = classifiers.restore(source.describe())
    shapes = [
        {name: tensor.shape for name, tensor in s.build(3, WANTED, False, None, 0.0, 0.0, "batch").state_dict().items()}
        for s in (source, again)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("google/vit-base-patch16-224", classifiers.TransformersClassifier),
        ("resnet18.a1_in1k", classifiers.TimmClassifier),
        ("timm/resnet18.a1_in1k", classifiers.TimmClassifier),
        ("hf-hub:someone/something", classifiers.TimmClassifier),
    ],
)
def test_a_name_tells_its_library(name: str, kind: type):
    assert isinstance(classifiers.find(name), kind)
