"""Reading images: any format, the right way up, in RGB, and no larger than it has to be decoded."""

import io
import os
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import BrokenSampleError

SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".heif", ".avif"]
)
_HEIC = (".heic", ".heif")
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Whatever its name, a file is tried as one of these only: Pillow knows more, and runs Ghostscript for one of them."""
_WHITE = (255, 255, 255)
_EXPECTED = "a path, the bytes of a file, an image of Pillow, or an array [H, W], [H, W, 3] or [H, W, 4]"


def read(image: Any, at_least: int | None = None) -> Image.Image:
    """An image in RGB, turned as its EXIF data says, transparent parts on white, 16-bit values scaled to 8.

    Args:
        image: as in ImageSample.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size (which saves most of the work),
            as long as its shorter side keeps so many pixels; None for full size.

    Raises:
        BrokenSampleError: it cannot be read; says why.
    """
    try:
        opened = _open(image() if callable(image) else image)
        if at_least:
            _draft(opened, at_least)
        return _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # decoders raise what they like of a file that is cut off or malformed
        raise BrokenSampleError(_reason(error)) from error


def header(path: Path) -> str | None:
    """What is wrong with a file as far as its first bytes show; None for nothing. Pixels are not decoded."""
    try:
        with _open(path) as image:
            return None if min(image.size) > 0 else "it has no pixels"
    except Exception as error:
        return _reason(error)


def size(image: Any) -> tuple[int, int] | None:
    """Width and height of an image as in ImageSample, by its first bytes; None where they do not say."""
    try:
        with _open(image() if callable(image) else image) as opened:
            return opened.size
    except Exception:  # it is named when it is read
        return None


def _open(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray):
        return Image.fromarray(_pixels(image))
    if isinstance(image, bytes):
        return Image.open(io.BytesIO(image), formats=_formats())
    if not isinstance(image, (str, os.PathLike)):
        raise BrokenSampleError(f"it is of type {type(image).__name__}; expected {_EXPECTED}")
    path = Path(image).expanduser()
    if not S_ISREG(os.stat(path).st_mode):
        raise BrokenSampleError("it is not a regular file")  # a pipe would be waited for, without end
    if path.suffix.lower() in _HEIC:
        _learn_heic()
    return Image.open(path, formats=_formats())


def _pixels(array: np.ndarray) -> np.ndarray:
    """As they are, if they are pixels; numbers of more than 8 bits scaled to those."""
    has_channels = array.ndim == 3 and array.shape[2] in (3, 4)
    if not array.size or array.dtype.kind not in "biuf" or not (array.ndim == 2 or has_channels):
        raise BrokenSampleError(
            f"it is an array of shape {[*array.shape]} and type {array.dtype}; expected {_EXPECTED}"
        )
    return array if array.dtype in (np.uint8, np.bool_) else _eight_bits(array)


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _learn_heic() -> None:
    import pillow_heif  # when the first one is met

    pillow_heif.register_heif_opener()


def _draft(image: Image.Image, at_least: int) -> None:
    width, height = image.size
    scale = at_least / min(width, height)
    if scale < 1:
        image.draft(None, (round(width * scale + 0.5), round(height * scale + 0.5)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, (*_WHITE, 255)), above).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """[H, W] uint8 of 16-bit values (0 .. 65535) or of floats (0 .. 1, else 0 .. 255)."""
    if values.dtype.kind == "f":
        values = values * 255 if values.max(initial=0) <= 1 else values
    elif values.max(initial=0) > 255 or values.dtype.itemsize == 2:
        values = values / 257
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenSampleError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or of no known format"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
