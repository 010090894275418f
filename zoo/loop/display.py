"""What a task shows and logs of itself. Nothing here touches training or metrics, and every default works."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor

from zoo.loop import microbatch
from zoo.samples import Batch, Item, Split


class Display(LightningModule):
    """How samples, batches, predictions and results look, and what predictions are made from. A task overrides
    what it can show better."""

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, but a number is made on the device: no upload that the host would wait for."""
        number = isinstance(value, (int, float))
        super().log(name, microbatch.on(self.device, value) if number else value, *args, **kwargs)

    def show_loss_mask(self, item: Item) -> str:
        """A sample as the network gets it, with what it learns of it."""
        return _listed(item)

    def captions(self, batch: Batch) -> list[str]:
        """A line for each sample of a training batch, as `prepare` has left it: what the network is to learn of it."""
        words = {k: v for k, v in batch.items() if isinstance(v, list) or (isinstance(v, Tensor) and v.ndim == 1)}
        return [_listed({k: v[i] for k, v in words.items()}) for i in range(microbatch.batch_length(batch))]

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        """A prediction as a line or two on the screen."""
        return str(prediction)

    predicts_from: ClassVar[str] = "--data.predict FILE"
    """Flags of zoo predict, for an example."""

    def samples_to_predict(self) -> Sequence[Any] | None:
        """Samples to predict from that are no data, as what a generator is to make; None for those of data.predict."""

    def write_prediction(self, prediction: dict[str, Any], folder: Path, number: int) -> dict[str, Any]:
        """A prediction as JSON has it. What is a file of its own, as an image, is written into the folder.

        Args:
            number: of the prediction, from 0.
        """
        return prediction

    def finish_predictions(self, folder: Path) -> list[Path]:
        """Files that show all predictions together. Returns what was written."""
        return []

    def preview(self) -> list[str]:
        """A few lines that show what the network does now, after every validation."""
        return []

    def preview_image(self) -> Any:
        """A Pillow image that shows what the network does now, after every validation; None for none."""

    def finish_previews(self, folder: Path) -> list[Path]:
        """Files that show how the preview images, step=N.png in the folder, changed. Returns what was written."""
        return []

    def eval_settings(self, split: Split) -> dict[str, Any]:
        """How the metrics were measured, so that they can be compared."""
        return {}

    def conclusion(self, metrics: dict[str, float]) -> str:
        """Whether the run beat a baseline, in a sentence; empty where there is none.

        Args:
            metrics: of the best checkpoint, as val/loss.
        """
        return ""

    def write_test_report(self, folder: Path) -> list[Path]:
        """Files that show more of the last test than its metrics do. Returns what was written."""
        return []


def _listed(item: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in item.items())


def _short(value: Any) -> str:
    shape = [*getattr(value, "shape", ())]
    return f"{shape} {value.dtype}" if shape else f"{float(value):g}" if isinstance(value, Tensor) else str(value)
