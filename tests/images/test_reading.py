import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image

from zoo.errors import BrokenSampleError
from zoo.images import reading

GRADIENT = np.linspace(0, 255, 12, dtype=np.uint8).reshape(3, 4)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_grey_images_have_three_equal_channels():
    assert np.array_equal(pixels(reading.read(GRADIENT)), np.repeat(GRADIENT[..., None], 3, -1))


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path):
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(pixels(reading.read(tmp_path / "a.png"))[..., 0], GRADIENT)


def test_transparent_parts_are_white():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    image.putpixel((1, 0), (10, 20, 30, 255))
    assert pixels(reading.read(image)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_a_photograph_is_turned_as_its_exif_data_says(tmp_path: Path):
    image = Image.new("RGB", (6, 3))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "a.jpg", exif=exif)
    assert reading.read(tmp_path / "a.jpg").size == (3, 6)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
def test_every_format_is_read(tmp_path: Path, suffix: str):
    Image.new("RGB", (8, 8), (100, 150, 200)).save(tmp_path / f"a.{suffix}")
    assert np.abs(pixels(reading.read(tmp_path / f"a.{suffix}")).astype(int) - [100, 150, 200]).max() <= 6


def test_heic_is_read(tmp_path: Path):
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), (100, 150, 200))).save(tmp_path / "a.heic")
    assert np.abs(pixels(reading.read(tmp_path / "a.heic")).astype(int) - [100, 150, 200]).max() <= 6


@pytest.mark.parametrize(("at_least", "side"), [(None, 512), (300, 512), (256, 256), (130, 256), (100, 128), (10, 64)])
def test_a_large_jpeg_is_not_decoded_larger_than_needed(at_least: int | None, side: int):
    buffer = io.BytesIO()
    Image.new("RGB", (512, 512)).save(buffer, "jpeg")
    assert reading.read(buffer.getvalue(), at_least).size == (side, side)


def test_a_call_is_read_when_it_is_needed():
    assert reading.read(lambda: GRADIENT).size == (4, 3)


@pytest.mark.parametrize("suffix", ["eps", "dds", "tga", "ico", "pcx"])
def test_other_formats_of_pillow_are_no_images(suffix: str):
    Image.new("RGB", (8, 8)).save(buffer := io.BytesIO(), suffix)
    with pytest.raises(BrokenSampleError, match="no image, or of no known format"):
        reading.read(buffer.getvalue())


def test_whatever_a_decoder_raises_the_image_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for error in (RuntimeError("no codec"), KeyError("tile"), MemoryError(), RecursionError(), NotImplementedError()):

        def load(image: Image.Image, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        with pytest.raises(BrokenSampleError):
            reading.read(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    assert reading.header(tmp_path / "a.png") == "it is not a regular file"
    with pytest.raises(BrokenSampleError, match="it is not a regular file"):
        reading.read(tmp_path / "a.png")


@pytest.mark.parametrize(("content", "reason"), [(b"", "no image"), (b"GIF89a", "."), (b"hello" * 99, "no image")])
def test_what_is_broken_says_why(content: bytes, reason: str):
    with pytest.raises(BrokenSampleError, match=reason):
        reading.read(content)


def test_a_file_that_is_not_there_says_so(tmp_path: Path):
    with pytest.raises(BrokenSampleError, match="no such file"):
        reading.read(tmp_path / "x.png")
    assert reading.header(tmp_path / "x.png") == "no such file"


COLOURED = np.dstack([GRADIENT, GRADIENT[::-1], GRADIENT])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint16])
def test_pixels_of_another_type_are_scaled_to_eight_bits(kind: type):
    array = COLOURED / 255 if np.issubdtype(kind, np.floating) else COLOURED.astype(kind)
    array = array * (257 if kind is np.uint16 else 1)
    assert np.array_equal(pixels(reading.read(array.astype(kind))), COLOURED)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3,)), "an array of shape [3] and type float64"),
        (np.zeros((), np.uint8), "an array of shape [] and type uint8"),
        (np.zeros((0, 4), np.uint8), "an array of shape [0, 4] and type uint8"),
        (np.zeros((3, 8, 8), np.uint8), "an array of shape [3, 8, 8] and type uint8"),
        (np.zeros((2, 8, 8, 3), np.uint8), "an array of shape [2, 8, 8, 3] and type uint8"),
        (np.zeros((8, 8), object), "an array of shape [8, 8] and type object"),
        (torch.zeros(3, 8, 8), "of type Tensor"),
        (3.5, "of type float"),
        (None, "of type NoneType"),
    ],
    ids=str,
)
def test_what_is_no_image_is_told_what_one_is(image: Any, said: str):
    with pytest.raises(
        BrokenSampleError, match=re.escape(f"it is {said}; expected a path, the bytes of a file, an image")
    ):
        reading.read(image)
