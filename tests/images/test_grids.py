"""Images side by side."""

from pathlib import Path

import torch
from PIL import Image

from zoo.images import grids


def images(count: int, side: int, shade: int = 0) -> torch.Tensor:
    shades = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1) + shade
    return shades.expand(count, 3, side, side)


def test_a_grid_has_its_images_in_rows_and_white_between_them():
    sheet = grids.grid(images(5, 64), 3)
    assert sheet.size == (3 * 66 - 2, 2 * 66 - 2)
    assert [sheet.getpixel((x, y))[0] for x, y in ((0, 0), (66, 0), (132, 63), (0, 66), (66, 129))] == [0, 1, 2, 3, 4]
    assert sheet.getpixel((64, 10)) == sheet.getpixel((140, 70)) == (255, 255, 255)


def test_tiny_images_are_enlarged_pixel_by_pixel():
    sheet = grids.grid(images(1, 8, 7), 1)
    assert sheet.size == (48, 48)
    assert sheet.getcolors() == [(48 * 48, (7, 7, 7))]


def test_a_strip_has_the_top_rows_and_an_animation_every_sheet(tmp_path: Path):
    for step in range(12):
        grids.save(grids.grid(images(4, 64, 10 * step), 2), tmp_path / f"step={step}.png")
    strip, animation = grids.over_time(tmp_path)
    with Image.open(strip) as shown:
        assert shown.size == (130, 8 * 66 - 2)
        shades = [shown.getpixel((5, 66 * i + 5))[0] for i in range(8)]
    assert shades == [0, 20, 30, 50, 60, 80, 90, 110]
    with Image.open(animation) as shown:
        assert (shown.n_frames, shown.size) == (12, (130, 130))


def test_of_one_sheet_there_is_nothing_to_show_over_time(tmp_path: Path):
    grids.save(grids.grid(images(1, 8), 1), tmp_path / "step=3.png")
    assert grids.over_time(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["step=3.png"]
