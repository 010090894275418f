import io

import numpy as np
import torch
from PIL import Image

from zoo.images.augment import Augmentation, Preprocessing
from zoo.images.processor import ImageProcessor
from zoo.samples import ImageSample

WANTED = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3, crop=1.0)


def photograph() -> bytes:
    """A large JPEG with much detail: where it is decoded at an eighth, other pixels come out."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((512, 512)).save(buffer := io.BytesIO(), "jpeg", quality=90)
    return buffer.getvalue()


def test_what_is_evaluated_is_decoded_in_full():
    content = photograph()
    full = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    processor = ImageProcessor(["a"], WANTED, None)
    (item,) = processor.encode([ImageSample(content)])
    assert np.array_equal(np.asarray(item["image"]), full)
    (same,) = processor.encode([ImageSample(full)])
    assert torch.equal(processor.collate([item])["image"], processor.collate([same])["image"])


def test_training_decodes_no_more_than_the_smallest_crop_needs():
    (item,) = ImageProcessor(["a"], WANTED, Augmentation(scale=0.25)).encode([ImageSample(photograph())])
    assert item["image"].size == (64, 64)
