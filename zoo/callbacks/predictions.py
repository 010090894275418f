"""Writes predictions as they come, so that nothing is lost when a long prediction is stopped."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback


class Predictions(Callback):
    """One JSON object per sample in `path`, and the same on the screen.

    Args:
        path: written anew.
    """

    def __init__(self, path: Path):
        self.path = path
        self.count = 0

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            for prediction in outputs:
                file.write(json.dumps(prediction, ensure_ascii=False) + "\n")
                print(pl_module.format_prediction(prediction), flush=True)
        self.count += len(outputs)
