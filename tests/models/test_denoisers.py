"""Networks that see noisy images: every family behind one face."""

from typing import Any

import pytest
import torch

from zoo.errors import ConfigError, MissingInputError
from zoo.models import denoisers

UNET = {"name": "UNet2DModel", "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 8,
        "block_out_channels": [16, 32], "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}  # fmt: skip
DIT = {"name": "DiTTransformer2DModel", "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 1,
       "num_layers": 2, "norm_elementwise_affine": False}  # fmt: skip
FAMILIES = pytest.mark.parametrize("settings", [UNET, DIT], ids=["unet", "dit"])
IMAGES, TIMES = torch.randn(3, 1, 8, 8), torch.tensor([1.0, 500, 999])


@FAMILIES
@pytest.mark.parametrize("label_count", [0, 1, 10])
def test_a_network_says_something_of_the_images_size_with_and_without_classes(settings: Any, label_count: int):
    found = denoisers.find(settings)
    found.try_out(label_count, 8)
    network = found.build(label_count, 8, 0.0)
    labels = torch.tensor([0, label_count - 1, label_count]) if label_count else None
    assert found.predict(network, IMAGES, TIMES, labels).shape == IMAGES.shape


@FAMILIES
def test_no_class_has_a_row_after_the_last_class(settings: Any):
    network = denoisers.find(settings).build(10, 8, 0.0)
    tables = [m for m in network.modules() if isinstance(m, torch.nn.Embedding)]
    assert {table.num_embeddings for table in tables} == {11}


@FAMILIES
def test_a_network_drops_no_labels_itself(settings: Any):
    found = denoisers.find(settings)
    network = found.build(10, 8, 0.0).train()
    images, labels = IMAGES[:1].repeat(64, 1, 1, 1), torch.zeros(64, dtype=torch.long)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0, 0.1)  # zero where they start, a class would make no difference
    said = found.predict(network, images, torch.full((64,), 500.0), labels)
    assert torch.allclose(said, said[:1].expand_as(said), atol=1e-4)


@FAMILIES
def test_a_network_comes_back_from_its_description(settings: Any):
    found = denoisers.find(settings)
    network = found.build(4, 8, 0.0)
    again = denoisers.restore(found.describe()).build(4, 8, 0.0)
    again.load_state_dict(network.state_dict())
    labels = torch.tensor([0, 3, 4])
    assert torch.equal(found.predict(again, IMAGES, TIMES, labels), found.predict(network, IMAGES, TIMES, labels))


@FAMILIES
@pytest.mark.parametrize("as_pipeline", [True, False])
def test_a_network_of_diffusers_is_loaded_from_its_folder(settings: Any, as_pipeline: bool, tmp_path: Any):
    network = denoisers.find(settings).build(4, 8, 0.0)
    folder = ("unet" if settings is UNET else "transformer") if as_pipeline else ""
    network.save_pretrained(tmp_path / folder)
    found = denoisers.find(str(tmp_path))
    again = found.build(4, 8, 0.0)
    assert found.load(again) == []
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), again.parameters(), strict=True))


def test_of_weights_for_other_classes_all_but_the_classes_are_taken_over(tmp_path: Any):
    denoisers.find(UNET).build(4, 8, 0.0).save_pretrained(tmp_path)
    found = denoisers.find(str(tmp_path))
    assert found.load(found.build(7, 8, 0.0)) == ["class_embedding.weight"]


def test_a_variance_that_a_network_predicts_too_is_left_aside():
    found = denoisers.find({**DIT, "out_channels": 2})
    found.try_out(10, 8)
    said = found.predict(found.build(10, 8, 0.0), IMAGES, TIMES, torch.tensor([0, 1, 2]))
    assert said.shape == IMAGES.shape


@pytest.mark.parametrize(
    ("settings", "size", "said"),
    [
        ({**UNET, "block_out_channels": [16, 20]}, 8, "UNet2DModel does not take these settings: .*divisible"),
        ({**UNET, "block_out_channels": [16]}, 8, "does not take these settings"),
        (UNET, 9, "cannot see images of 9 x 9"),
        ({**UNET, "out_channels": 3}, 8, "must have their shape"),
        ({**UNET, "layer_per_block": 1}, 8, "did you mean layers_per_block?"),
        ({**UNET, "num_class_embeds": 11}, 8, "follows from the classes of the data"),
        ({**UNET, "name": "UNet2DMode"}, 8, "did you mean UNet2DModel?"),
        ({"block_out_channels": [16]}, 8, "name is missing"),
        ({"name": "subprocess.Popen"}, 8, "Name a class of diffusers"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_a_line(settings: Any, size: int, said: str):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        denoisers.find(settings).try_out(10, size)


def test_a_folder_without_a_network_is_named(tmp_path: Any):
    with pytest.raises(MissingInputError, match="no network of diffusers"):
        denoisers.find(str(tmp_path))
