"""What images go through on their way into a network: resized, cut, and shifted and scaled channel by channel.

The shape is made by data workers, in uint8, and the colours on the device: a quarter of the traffic.
B images of a batch · S side in pixels
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from zoo.errors import ConfigError
from zoo.images import hf_processors

_GREY = (0.299, 0.587, 0.114)
"""What red, green and blue add to brightness (ITU-R BT.601, as Pillow has it)."""


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images.

    Args:
        size: S of the square that it sees.
        mean: of red, green and blue, for values 0 .. 1.
        std: likewise.
        interpolation: bilinear, bicubic …
        crop: share of the shorter side that evaluation sees, at the centre.
        squash: resize both sides to S at once, whatever the shape.
        order: of the network's channels: (2, 1, 0) for blue, green, red.
        processor: settings of an image processor of transformers, which then resizes and cuts instead.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop: float = 1.0
    squash: bool = False
    order: tuple[int, ...] = (0, 1, 2)
    processor: dict[str, Any] | None = None

    @property
    def mode(self) -> InterpolationMode:
        return InterpolationMode(self.interpolation)

    @property
    def short_side(self) -> int:
        """Pixels to which the shorter side is resized for evaluation."""
        return int(self.size / self.crop)


class Normalise(nn.Module):
    """[B, 3, S, S] uint8 as read to f32 as the network wants it. It has no weights, and is in no checkpoint."""

    def __init__(self, wanted: Preprocessing):
        super().__init__()
        self.order = list(wanted.order)
        self.mean, self.std = (
            nn.Buffer(255 * torch.tensor(values).view(1, -1, 1, 1), persistent=False)
            for values in (wanted.mean, wanted.std)
        )

    def forward(self, images: Tensor) -> Tensor:
        normalised = (images - self.mean) / self.std
        return normalised if self.order == [0, 1, 2] else normalised[:, self.order]


def fit(image: Image.Image, wanted: Preprocessing) -> Tensor:
    """[3, S, S] uint8: resized and cut at the centre, as evaluation sees it."""
    return as_tensor(square(image, wanted))


def square(image: Image.Image, wanted: Preprocessing) -> Image.Image:
    """As `fit`."""
    side = wanted.size
    if wanted.processor:
        return hf_processors.shaped(image, wanted.processor)
    if wanted.squash:
        return v2.functional.resize(image, [side, side], wanted.mode)
    resized = v2.functional.resize(image, [max(side, wanted.short_side)], wanted.mode)
    return v2.functional.center_crop(resized, [side, side])


def as_tensor(image: Image.Image) -> Tensor:
    return v2.functional.pil_to_tensor(image)


def as_uint8(images: Tensor) -> Tensor:
    """[B, 3, S, S] uint8 of [B, C, S, S] f32 in -1..1: the inverse of what images go through on their way in."""
    values = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return values.expand(-1, 3, -1, -1) if values.shape[1] == 1 else values


def as_grey(images: Tensor) -> Tensor:
    """[B, 3, S, S] uint8: three times the brightness, which a grey pixel already is."""
    shares = [images[:, i : i + 1] * share for i, share in enumerate(_GREY)]  # uploads nothing to the device
    return torch.stack(shares).sum(0).round().to(torch.uint8).expand_as(images)


# Of a processor of transformers ---------------------------------------------------------------------------------


def of_processor(processor: Any, image_size: int | None) -> Preprocessing:
    """How a processor prepares images, or would for another size: its lengths are scaled alike.

    What it does to shapes stays its own work, as some thirty families have ways of their own. What it does to colours
    is found out by showing it some. Then both are held against all that it does.

    Raises:
        ConfigError: it does anything else than to resize, cut to a square, and shift, scale and reorder channels.
    """
    settings, name = hf_processors.plain(processor), type(processor).__name__
    try:
        side = _side(settings)
        if image_size and image_size != side:
            settings |= {key: _scaled(settings[key], image_size / side) for key in _SIZES if settings.get(key)}
            side = _side(settings)
        resample = settings.get("resample")
        found = Preprocessing(
            size=side,
            **_colours(settings),
            interpolation=Image.Resampling(2 if resample is None else resample).name.lower(),
            processor=settings,
        )
        is_same = all(_is_same(found, image, settings) for image in _trials())
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(_refused(name, f"tried out, it fails: {str(error).strip().partition(chr(10))[0]}")) from error
    if not is_same:
        raise ConfigError(_refused(name, "this does more to colours"))
    if image_size and side != image_size:
        raise ConfigError(f"model.image_size is {image_size}, and {name} always makes {side} of it. Leave it out.")
    return found


_SIZES = ("size", "crop_size", "resize_short")


def _side(settings: dict[str, Any]) -> int:
    shapes = {hf_processors.processed(image, settings).shape[1:] for image in _trials()}
    if len({side for shape in shapes for side in shape}) > 1:
        raise ValueError(f"it makes {' and '.join(f'{w} x {h}' for h, w in sorted(shapes))} of images")
    return int(shapes.pop()[0])


def _scaled(length: Any, factor: float) -> Any:
    if isinstance(length, dict):
        return {name: _scaled(one, factor) for name, one in length.items() if one}
    return round(length * factor)


def _colours(settings: dict[str, Any]) -> dict[str, Any]:
    """Mean and deviation that are taken off each channel, and their order, as images of one colour show them."""
    black, *primary = (
        hf_processors.centre(hf_processors.processed(Image.new("RGB", (300, 300), colour), settings))
        for colour in ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    )
    changes = np.stack(primary) - black  # [red, green, blue of the image; channel of the result]
    order = np.abs(changes).argmax(0)
    std = 1 / changes[order, range(3)]
    places = np.argsort(order)
    mean, std = (-black * std)[places], std[places]
    found = {"mean": np.round(mean, 7) + 0.0, "std": np.round(std, 7), "order": order}
    return {name: tuple(values.tolist()) for name, values in found.items()}


def _is_same(found: Preprocessing, image: Image.Image, settings: dict[str, Any]) -> bool:
    ours = Normalise(found)(fit(image, found)[None])[0].numpy()
    return bool(np.allclose(ours, hf_processors.processed(image, settings), rtol=1e-4, atol=1e-4))


def _trials() -> list[Image.Image]:
    """A wide and a tall image of noise: every pixel is another one."""
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in ((301, 405), (411, 307))]


def _refused(name: str, why: str) -> str:
    return (
        f"{name} is the image processor of this model. zoo resizes, cuts to a square and normalises each channel; "
        f"{why}. Choose another model."
    )
