"""Images side by side: a grid of samples, the same samples over a training, and each beside those it is most like.

S side of an image in pixels
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.files.paths import write_whole

_SMALL = 48
"""Images below so many pixels are enlarged for people."""
_GAP = 2
_FRAMES, _STRIP = 60, 8
"""Most that an animation and a strip show."""


def grid(images: Tensor, columns: int) -> Image.Image:
    """Rows of images with a white line between them, enlarged where they are tiny.

    Args:
        images: [N, 3, S, S] uint8.
    """
    side = images.shape[-1]
    factor = max(1, _SMALL // side)
    cell, rows = side * factor + _GAP, math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * cell - _GAP, rows * cell - _GAP), "white")
    for i, image in enumerate(as_images(images)):
        enlarged = image.resize((side * factor, side * factor), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (i % columns * cell, i // columns * cell))
    return sheet


def with_examples(images: Tensor, examples: Tensor) -> Image.Image:
    """A row of each image and its examples.

    Args:
        images: [N, 3, S, S] uint8.
        examples: [N * E, 3, S, S] uint8, E of each image one after the other.
    """
    each = examples.view(len(images), -1, *images.shape[1:])  # [N, E, 3, S, S]
    return grid(torch.cat([images[:, None], each], 1).flatten(0, 1), 1 + each.shape[1])


def as_images(images: Tensor) -> list[Image.Image]:
    """Pillow images.

    Args:
        images: [N, 3, S, S] uint8.
    """
    return [Image.fromarray(np.ascontiguousarray(x.permute(1, 2, 0).cpu().numpy())) for x in images]


def save(image: Image.Image, path: Path) -> Path:
    """PNG, which is whole or not there."""
    data = io.BytesIO()
    image.save(data, "PNG")
    write_whole(path, lambda file: file.write(data.getvalue()))
    return path


def of_folder(folder: Path, columns: int | None = None, most: int = 100) -> Path:
    """grid.png, of the first images in a folder whose names begin with their number.

    Args:
        columns: None for a square.
    """
    found = [_opened(path) for path in sorted(folder.glob("[0-9]*.png"))[:most]]
    images = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in found])
    return save(grid(images, columns or math.ceil(len(found) ** 0.5)), folder / "grid.png")


def over_time(folder: Path) -> list[Path]:
    """strip.png, the top row of a few of the sheets step=N.png from first to last, and animation.webp of all of them.

    Returns:
        what was written; nothing of fewer than two sheets.
    """
    paths = sorted(folder.glob("step=*.png"), key=lambda path: int(path.stem.removeprefix("step=")))
    sheets, strip, animation = [_opened(path) for path in paths], folder / "strip.png", folder / "animation.webp"
    sheets = [sheet for sheet in sheets if sheet.size == sheets[-1].size]  # of other classes, before a resume
    if len(sheets) < 2:
        return []
    top = _rows(sheets[0])
    few = [sheet.crop((0, 0, sheet.width, top)) for sheet in _spread(sheets, _STRIP)]
    joined = Image.new("RGB", (few[0].width, len(few) * (top + _GAP) - _GAP), "white")
    for i, row in enumerate(few):
        joined.paste(row, (0, i * (top + _GAP)))
    frames, data = _spread(sheets, _FRAMES), io.BytesIO()
    durations = [150] * (len(frames) - 1) + [2000]
    frames[0].save(
        data, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True, method=0
    )
    write_whole(animation, lambda file: file.write(data.getvalue()))
    return [save(joined, strip), animation]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _rows(sheet: Image.Image) -> int:
    """Height of the top row of a grid: what is above its first white line."""
    pixels = np.asarray(sheet).min(axis=(1, 2))
    white = np.flatnonzero(pixels == 255)
    return int(white[0]) if len(white) else sheet.height


def _spread(sheets: Sequence[Image.Image], count: int) -> list[Image.Image]:
    """So many of them, first and last included, evenly."""
    if len(sheets) <= count:
        return list(sheets)
    return [sheets[round(i * (len(sheets) - 1) / (count - 1))] for i in range(count)]
