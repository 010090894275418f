"""Reference: transformers' own image processors, on photographs of odd sizes."""

import pickle
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

import zoo
from zoo.errors import ConfigError
from zoo.images import hf_processors
from zoo.images.preprocessing import Normalise, Preprocessing, of_processor
from zoo.images.processor import ImageProcessor

CHINA, FLOWER = (Image.fromarray(image) for image in load_sample_images().images)
PHOTOGRAPHS = [CHINA.resize((513, 331)), FLOWER.resize((277, 401)), FLOWER.resize((97, 120))]
ELSEWHERE = {"imagegpt", "donut-swin", "siglip2", "textnet"}
"""Families whose networks see no squares of pixels."""
BY_ANOTHER = {"dinov2_with_registers", "hgnet_v2", "timm_wrapper"}
"""Families without a processor of their own; their models name that of another, or are timm's."""
NAMES = {
    kind: names.get("torchvision") or names["pil"]
    for kind, names in IMAGE_PROCESSOR_MAPPING_NAMES.items()
    if kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.keys() - BY_ANOTHER
}
SQUARE = {"height": 224, "width": 224}
AS_SAVED: list[tuple[str, dict[str, Any]]] = [
    *[(name, {}) for name in sorted({name for kind, name in NAMES.items() if kind not in ELSEWHERE})],
    ("BeitImageProcessor", {"do_center_crop": True, "size": {"height": 256, "width": 256}}),
    ("BitImageProcessor", {"size": {"shortest_edge": 256}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.95}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 256}, "resample": 1}),
    ("DeiTImageProcessor", {"size": {"height": 438, "width": 438}, "crop_size": {"height": 384, "width": 384}}),
    ("EfficientNetImageProcessor", {"include_top": True, "size": SQUARE}),
    ("EfficientNetImageProcessor", {"rescale_offset": True, "rescale_factor": 1 / 127.5, "size": SQUARE}),
    ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 200}, "crop_size": {"height": 192, "width": 192}}),
    ("MobileViTImageProcessor", {"size": {"shortest_edge": 288}}),
    ("PoolFormerImageProcessor", {"crop_pct": 0.95, "size": {"shortest_edge": 384}}),
    ("ViTImageProcessor", {"do_normalize": False}),
    ("ViTImageProcessor", {"do_rescale": False, "do_normalize": False}),
    ("ViTImageProcessor", {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.7, 0.8, 0.9]}),
    *[("ViTImageProcessor", {"resample": resample}) for resample in range(4)],
]


def normalised(wanted: Preprocessing) -> torch.Tensor:
    """What a network gets of the photographs, by way of a worker in another process."""
    processor = pickle.loads(pickle.dumps(ImageProcessor(["a"], wanted, None)))
    batch = processor.collate(processor.encode([zoo.ImageSample(photograph) for photograph in PHOTOGRAPHS]))
    return Normalise(wanted)(batch["image"])


@pytest.mark.parametrize(("name", "settings"), AS_SAVED, ids=lambda value: str(value).removesuffix("ImageProcessor"))
def test_a_network_gets_what_the_processor_that_was_saved_with_it_would_give_it(name: str, settings: dict[str, Any]):
    processor = getattr(transformers, name)(**settings)
    theirs = torch.stack([processor(image, return_tensors="pt")["pixel_values"][0] for image in PHOTOGRAPHS])
    assert torch.allclose(normalised(of_processor(processor, None)), theirs.float(), rtol=1e-5, atol=1e-5)


def test_every_family_that_classifies_images_is_tried_or_named():
    assert set(NAMES) | BY_ANOTHER == set(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


@pytest.mark.parametrize("kind", sorted(ELSEWHERE))
def test_a_processor_that_does_something_else_is_refused_by_its_name(kind: str):
    with pytest.raises(ConfigError, match=f"{NAMES[kind]} is the image processor of this model. zoo resizes, cuts"):
        of_processor(getattr(transformers, NAMES[kind])(), None)


def test_colours_that_depend_on_one_another_are_refused(monkeypatch: pytest.MonkeyPatch):
    class Grey(transformers.ViTImageProcessor):
        def rescale_and_normalize(self, images: torch.Tensor, *settings: Any) -> torch.Tensor:
            return super().rescale_and_normalize(images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1), *settings)

    monkeypatch.setattr(hf_processors, "restored", Grey.from_dict)
    with pytest.raises(ConfigError, match="Grey is the image processor of this model"):
        of_processor(Grey(), None)


@pytest.mark.parametrize(
    ("name", "settings", "scaled"),
    [
        ("ViTImageProcessor", {}, {"size": {"height": 112, "width": 112}}),
        ("DeiTImageProcessor", {}, {"size": {"height": 128, "width": 128}, "crop_size": {"height": 112, "width": 112}}),
        ("ConvNextImageProcessor", {}, {"size": {"shortest_edge": 112}}),
        ("PPLCNetImageProcessor", {}, {"resize_short": 128, "crop_size": {"height": 112, "width": 112}}),
        ("BitImageProcessor", {"size": {"shortest_edge": 256}},
         {"size": {"shortest_edge": 128}, "crop_size": {"height": 112, "width": 112}}),
    ],
)  # fmt: skip
def test_for_another_size_all_its_lengths_are_scaled(name: str, settings: dict[str, Any], scaled: dict[str, Any]):
    kind = getattr(transformers, name)
    wanted, theirs = of_processor(kind(**settings), 112), kind(**{**settings, **scaled})
    assert wanted.size == 112
    assert torch.equal(normalised(wanted), normalised(of_processor(theirs, None)))


def test_a_processor_of_one_size_only_is_refused_another(monkeypatch: pytest.MonkeyPatch):
    class Fixed(transformers.ViTImageProcessor):
        def resize(self, image: torch.Tensor, *args: Any, **settings: Any) -> torch.Tensor:
            return image[..., :64, :64]

    monkeypatch.setattr(hf_processors, "restored", Fixed.from_dict)
    with pytest.raises(ConfigError, match="image_size is 112, and Fixed always makes 64 of it"):
        of_processor(Fixed(), 112)


def test_a_processor_in_plain_types_is_the_same_processor():
    processor = transformers.MobileViTImageProcessor(size={"shortest_edge": 288})
    assert hf_processors.restored(hf_processors.plain(processor)).to_dict() == processor.to_dict()
