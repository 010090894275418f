"""How training images are varied one by one, and mixed in batches.

B images of a batch · S side in pixels
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from zoo.constraints import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveShare, checked
from zoo.images.preprocessing import Preprocessing, as_tensor, square

Policy = Literal["none", "randaugment", "trivialaugment"]


@checked
@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. Every draw is a function of seed, step and sample.

    Args:
        scale: smallest share of the area that a random crop keeps. At 1 nothing is cropped.
        ratio: largest aspect ratio of a random crop, either way.
        padding: black pixels on each side, out of which a crop of the image's size is taken, as is the custom for
            CIFAR. This replaces the random crop by area.
        hflip: probability of a horizontal flip. Set 0 where left and right mean something, as in digits.
        policy: further random changes of shape and colour: none, RandAugment (2 operations of magnitude 9), or
            TrivialAugment.
        random_erasing: probability that a random rectangle is replaced by the mean colour.
        mixup: alpha of mixup. Pairs of images are blended, with a share drawn from Beta(alpha, alpha). 0 means none.
        cutmix: alpha of CutMix. A rectangle of one image comes from another. With mixup too, each step draws one of
            the two.
        label_smoothing: share of a target that is spread over all classes.
    """

    scale: PositiveShare = 0.08
    ratio: Annotated[float, Ge(1)] = 4 / 3
    padding: NonNegativeInt = 0
    hflip: ClosedUnitInterval = 0.5
    policy: Policy = "none"
    random_erasing: ClosedUnitInterval = 0.0
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    label_smoothing: ClosedUnitInterval = 0.0

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


class Variation:
    """The augmentations of single images, as one function of (image, stream)."""

    def __init__(self, augmentation: Augmentation, wanted: Preprocessing):
        self.augmentation, self.wanted = augmentation, wanted

    def __call__(self, image: Image.Image, stream: torch.Generator) -> Tensor:
        """[3, S, S] uint8."""
        framed = self._framed(image, stream)
        if torch.rand((), generator=stream) < self.augmentation.hflip:
            framed = framed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self._steps is None:
            return as_tensor(framed)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed every device as well, and format a stack trace for each: half of the work.
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=stream)))
            return self._steps(framed)

    def _framed(self, image: Image.Image, stream: torch.Generator) -> Image.Image:
        a, side = self.augmentation, self.wanted.size
        if a.padding:
            left, top = torch.randint(-a.padding, a.padding + 1, (2,), generator=stream).tolist()
            return square(image, self.wanted).crop((left, top, left + side, top + side))
        if a.scale == 1:
            return square(image, self.wanted)
        box = random_box(image.size, a.scale, a.ratio, stream)
        return image.resize((side, side), Image.Resampling[self.wanted.interpolation.upper()], box)

    @cached_property
    def _steps(self) -> Any:
        """What torchvision draws from torch's global stream, which starts anew for every image; None for nothing."""
        a, steps = self.augmentation, [v2.PILToTensor()]
        if a.policy != "none":
            policy = v2.RandAugment if a.policy == "randaugment" else v2.TrivialAugmentWide
            steps.insert(0, policy(interpolation=InterpolationMode.BILINEAR, fill=_grey(self.wanted)))
        if a.random_erasing:
            steps.append(v2.RandomErasing(a.random_erasing, value=[float(v) for v in _grey(self.wanted)]))
        return v2.Compose(steps) if len(steps) > 1 else None

    def __getstate__(self) -> dict[str, Any]:
        return {"augmentation": self.augmentation, "wanted": self.wanted}


def random_box(size: tuple[int, int], scale: float, ratio: float, stream: torch.Generator) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part of an image, as torchvision's RandomResizedCrop draws it.

    That draws its numbers one by one from the global stream, which costs more than to read a small image.

    Args:
        size: width and height.
        scale: smallest share of the area.
        ratio: most that the part is wider than tall or the other way; even in its logarithm.

    Source: Szegedy et al. 2015. After ten parts that do not fit, the largest in the middle.
    """
    width, height = size
    for share, shape, x, y in torch.rand(10, 4, generator=stream).tolist():
        area, aspect = width * height * (scale + share * (1 - scale)), ratio ** (2 * shape - 1)
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * ratio)), min(height, round(width * ratio))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def mix(images: Tensor, augmentation: Augmentation, stream: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mixup or cutmix of a whole batch with a permutation of itself.

    Args:
        images: [B, 3, S, S] uint8.

    Returns:
        the mixed images, uint8; [B] int64, which image each was mixed with; [B] f32, the share of its own label.

    Source: Zhang et al. 2018 (mixup), Yun et al. 2019 (cutmix); one share a batch, as both have it.
    """
    a = augmentation
    partner = torch.randperm(len(images), generator=stream)
    cut = a.cutmix > 0 and (a.mixup == 0 or float(torch.rand((), generator=stream)) < 0.5)
    share = _beta(a.cutmix if cut else a.mixup, stream)
    if cut:
        mixed, share = _cutmix(images, partner, share, stream)
    else:
        mixed = torch.empty_like(images)
        for i, j in enumerate(partner.tolist()):  # one at a time: a batch in fp32 would take four times its memory
            mixed[i] = images[i].float().mul_(share).add_(images[j], alpha=1 - share).round_()
    return mixed, partner, torch.full((len(images),), share)


def _cutmix(images: Tensor, partner: Tensor, share: float, stream: torch.Generator) -> tuple[Tensor, float]:
    height, width = images.shape[-2:]
    side = (1 - share) ** 0.5
    at = torch.rand(2, generator=stream).tolist()
    top, bottom = _span(height, side, at[0])
    left, right = _span(width, side, at[1])
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(length: int, share: float, centre: float) -> tuple[int, int]:
    half, middle = int(length * share) / 2, centre * length
    return max(0, round(middle - half)), min(length, round(middle + half))


def _beta(alpha: float, stream: torch.Generator) -> float:
    """A draw from Beta(alpha, alpha), as x / (x + y) of two Gamma(alpha) draws."""
    gamma = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=stream)
    return float(gamma[0] / gamma.sum()) if float(gamma.sum()) > 0 else 0.5


def _grey(wanted: Preprocessing) -> list[int]:
    """The mean colour, which is 0 for the network."""
    return [min(255, max(0, round(255 * value))) for value in wanted.mean]
