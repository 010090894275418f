"""Writes predictions as they come, so that nothing is lost when a long prediction is stopped."""

import itertools
import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from zoo.files.paths import write_text


class Predictions(Callback):
    """One JSON object per sample in `path`, and the same on the screen.

    Args:
        path: written anew, as is a folder beside it, without its ending: of images, say. Earlier ones get a number.
    """

    def __init__(self, path: Path):
        self.path = path
        self.count = 0

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and self.path.stat().st_size:
            self._keep()
        self.path.write_text("")
        for old in self.folder.glob("*.png"):
            old.unlink()

    def _keep(self) -> None:
        kept = next(p for n in itertools.count(1) if not (p := self.path.with_suffix(f".{n}.jsonl")).exists())
        self.path.rename(kept)
        if self.folder.is_dir():
            folder = self.folder.rename(kept.with_suffix(""))
            write_text(kept, kept.read_text("utf-8").replace(f"{self.folder}/", f"{folder}/"))
        print(f"kept: earlier predictions are in {kept}")

    @property
    def folder(self) -> Path:
        return self.path.with_suffix("")

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            for output in outputs:
                prediction = pl_module.write_prediction(output, self.folder, self.count)
                file.write(json.dumps(prediction, ensure_ascii=False) + "\n")
                print(pl_module.format_prediction(prediction), flush=True)
                self.count += 1

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        for path in pl_module.finish_predictions(self.folder):
            print(f"written: {path}")
