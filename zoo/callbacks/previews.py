"""After every validation, a few examples of what the network does now."""

import io
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.callbacks.ema import EMA
from zoo.callbacks.loggers import leave_out
from zoo.callbacks.run_directory import RunDirectory
from zoo.errors import DoesNotFitError
from zoo.files.paths import write_whole
from zoo.loop import recovery

T = TypeVar("T")
_GAP, _COMPARED = 16, 3
"""Previews, from the first on, that show raw weights beside the averages. Later ones hardly differ."""


class Previews(Callback):
    """Puts `task.preview()` into TensorBoard, and `task.preview_image()` there and into the run directory.

    Args:
        directory: knows the folder of the run.
    """

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.count = 0

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        image = self._image(trainer, pl_module)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                texts = within(trainer, shown, pl_module)
                try:
                    for i, text in enumerate(texts):
                        logger.experiment.add_text(f"preview/{i}", f"```\n{text}\n```", trainer.global_step)
                    if image is not None:
                        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
                        pixels = pixels.view(image.height, image.width, 3)
                        logger.experiment.add_image("preview", pixels, trainer.global_step, dataformats="HWC")
                except OSError as error:
                    leave_out(trainer, logger, error)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self.directory.folder and (folder := self.directory.folder / "previews").is_dir():
            try:
                for path in pl_module.finish_previews(folder):
                    print(f"written: {path}")
            except OSError as error:
                print(f"{folder} is not complete: {error.strerror or error}", file=sys.stderr)

    def _image(self, trainer: Any, task: Any) -> Any:
        """The image of the weights that were measured, which is also written; None for none."""
        image, step = within(trainer, shown_image, task), trainer.global_step
        if image is None or self.directory.folder is None:
            return image
        folder = self.directory.folder / "previews"
        self._write(image, folder / f"step={step}.png")
        averages = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]
        if averages and self.count < _COMPARED:
            with averages[0].raw(task):
                raw = within(trainer, shown_image, task)
            if raw is not None:
                self._write(_beside(raw, image), folder / f"raw_and_average_step={step}.png")
        self.count += 1
        return image

    def _write(self, image: Any, path: Any) -> None:
        data = io.BytesIO()
        image.save(data, "PNG")
        try:
            write_whole(path, lambda file: file.write(data.getvalue()))
        except OSError as error:
            print(f"{path} is not written: {error.strerror or error}", file=sys.stderr)


def _beside(left: Any, right: Any) -> Any:
    """Two images with a gap between them."""
    from PIL import Image

    joined = Image.new("RGB", (left.width + _GAP + right.width, right.height), "white")
    joined.paste(left, (0, 0))
    joined.paste(right, (left.width + _GAP, 0))
    return joined


def within(trainer: Any, show: Callable[[Any], T], task: Any) -> T:
    """What a task shows, in the precision of the training."""
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        return show(task)


def shown(task: Any) -> list[str]:
    """`task.preview()`; without memory for it there is none, as it is no part of the training."""
    return _if_it_fits(lambda: list(task.preview())) or []


def shown_image(task: Any) -> Any:
    """`task.preview_image()`, likewise."""
    return _if_it_fits(task.preview_image)


def _if_it_fits(show: Callable[[], T]) -> T | None:
    try:
        return show()
    except Exception as error:
        if not (isinstance(error, DoesNotFitError) or recovery.is_out_of_memory(error)):
            raise
        print(f"examples are not shown: {recovery.first_line(error)}", file=sys.stderr)
    recovery.free_cache()
    return None
