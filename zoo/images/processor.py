"""Images to batches, for every task that is about images.

B images of a batch · S side in pixels
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.images import reading
from zoo.images.augment import Augmentation, Variation
from zoo.images.preprocessing import Preprocessing, fit
from zoo.samples import Batch, ImageSample, Item, Processor


class ImageProcessor(Processor):
    """Images to uint8 squares, and class names to numbers.

    Args:
        label_names: in the order of the network's outputs.
        wanted: how the network wants its images.
        augmentation: of training images; None where they are only fitted.
    """

    def __init__(self, label_names: list[str], wanted: Preprocessing, augmentation: Augmentation | None):
        self.numbers = {name: i for i, name in enumerate(label_names)}
        self.wanted = wanted
        self.vary = Variation(augmentation, wanted) if augmentation else None
        self.at_least: int | None = None  # what is only fitted is decoded in full, as other libraries do
        crops = augmentation is not None and augmentation.scale < 1 and not augmentation.padding
        if augmentation and (crops or not wanted.processor):
            # Even the smallest random crop has as many pixels as it is resized to.
            smallest = augmentation.scale if crops else 1.0
            self.at_least = round(max(wanted.size, wanted.short_side) / smallest**0.5)

    def encode(self, samples: Sequence[ImageSample]) -> list[Item]:
        return [
            {
                "image": reading.read(sample.image, self.at_least),
                "label": self.numbers.get(sample.label or "", -1),
                "name": str(sample),
            }
            for sample in samples
        ]

    def augment(self, item: Item, stream: torch.Generator) -> Item:
        assert self.vary is not None
        return {**item, "image": self.vary(item["image"], stream)}

    def collate(self, items: Sequence[Item]) -> Batch:
        images = [x if isinstance(x := item["image"], Tensor) else fit(x, self.wanted) for item in items]
        batch: Batch = {
            "image": torch.stack(images),  # [B, 3, S, S] uint8
            "targets": torch.tensor([item["label"] for item in items]),
        }
        return batch if self.vary else {**batch, "name": [item["name"] for item in items]}
