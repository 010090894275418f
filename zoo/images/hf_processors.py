"""Image processors of transformers as plain types, and images as they make them."""

import json
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

_COLOURS = ("do_rescale", "do_normalize", "do_flip_channel_order", "rescale_offset", "include_top")
"""Settings that change colours only."""


def plain(processor: Any) -> dict[str, Any]:
    """The settings of a processor, with the name of its class."""
    return {**json.loads(processor.to_json_string()), "image_processor_type": type(processor).__name__}


def restored(settings: dict[str, Any]) -> Any:
    """The processor that `plain` described."""
    import transformers

    return getattr(transformers, settings["image_processor_type"]).from_dict(dict(settings))


def processed(image: Image.Image, settings: dict[str, Any]) -> np.ndarray:
    """[3, S, S] of an image, all done."""
    return _pixels(_restored(json.dumps(settings)), image).astype(np.float64)


def shaped(image: Image.Image, settings: dict[str, Any]) -> Image.Image:
    """An image resized and cut, its colours as they were."""
    key = json.dumps(settings)
    pixels = _shaped(_restored(key), image)[_places(key)]
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def centre(pixels: np.ndarray) -> np.ndarray:
    """[3], the colour in the middle of [3, S, S]."""
    return pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2]


def _pixels(processor: Any, image: Image.Image, **settings: Any) -> np.ndarray:
    pixels = np.asarray(processor(image, return_tensors="np", **settings)["pixel_values"][0])
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"it makes {list(pixels.shape)} of an image")
    return pixels


def _shaped(processor: Any, image: Image.Image) -> np.ndarray:
    """[3, S, S] uint8, in whatever order of channels."""
    off = {name: False for name in _COLOURS if getattr(processor, name, None)}
    return np.rint(_pixels(processor, image, **off)).astype(np.uint8)


@cache
def _restored(settings: str) -> Any:
    """One a process: it takes longer to make than an image."""
    return restored(json.loads(settings))


@cache
def _places(settings: str) -> list[int]:
    """Where red, green and blue are after resizing: some always turn them over."""
    shown = _shaped(_restored(settings), Image.new("RGB", (300, 300), (50, 100, 150)))
    return [int(place) for place in np.argsort(centre(shown))]
