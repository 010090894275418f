"""A grid of small images with captions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.files import fonts, plots


def mosaic(images: Sequence[Tensor], titles: Sequence[str], path: Path, columns: int = 5) -> Path:
    """PNG: small images in rows, each with its title above."""
    return plots.png(drawn_mosaic(images, titles, columns), path)


def drawn_mosaic(images: Sequence[Tensor], titles: Sequence[str], columns: int = 5) -> Any:
    """The same as a drawing of `plots`.

    Args:
        images: each [3, S, S] uint8.
    """
    columns = columns if len(images) <= 4 * columns else math.ceil(len(images) ** 0.5)
    rows = math.ceil(len(images) / columns)
    drawn, grid = plots.axes(1.7 * columns, 2.1 * rows, rows, columns)
    cells = list(grid.flat)
    for axes in cells:
        axes.axis("off")
    texts, style = fonts.lettering(titles)
    for axes, image, title in zip(cells, images, texts, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=8, **style)
    return drawn
