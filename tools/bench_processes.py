"""What a second process brings: steps per second of one and of two processes (gloo, one thread each), same batch.

    uv run tools/bench_processes.py --devices 1
    uv run tools/bench_processes.py --devices 2

Many small tensors (12 layers of 64) show what a step costs beside the computing; few large ones (2 layers of 512) what
the gradients cost. The median over the steps is printed, so that others on the machine disturb little.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from lightning.pytorch import Callback

import zoo
from zoo.command.silenced_warnings import quiet

torch.set_num_threads(1)
SIZES = {"small": {"n_layer": 12, "n_embd": 64}, "large": {"n_layer": 2, "n_embd": 512}}


class Seconds(Callback):
    """Of every step, from begin to begin."""

    def __init__(self) -> None:
        self.at: list[tuple[float, float]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.at.append((time.perf_counter(), time.process_time()))

    def median(self, clock: int) -> float:
        """Milliseconds of a step; clock 0 is that on the wall, 1 that of the processor."""
        times = [moment[clock] for moment in self.at[5:]]
        return 1000 * statistics.median(b - a for a, b in pairwise(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    text = Path(tempfile.gettempdir()) / "bench-processes.txt"
    text.write_text("\n".join(f"The {i}th fox jumps over {i * i} lazy dogs." for i in range(20_000)))
    for name, sizes in SIZES.items():
        seconds = Seconds()
        architecture = {"model_type": "gpt2", "n_head": 4, "n_positions": 64, **sizes}
        task = zoo.CausalLM(
            architecture=architecture, vocab_size=400, max_length=64, optimizer=partial(torch.optim.AdamW, lr=1e-3)
        )
        trainer = zoo.Trainer(
            accelerator="cpu", devices=options.devices, strategy="ddp" if options.devices > 1 else "auto",
            max_steps=options.steps, limit_val_batches=0, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[seconds],
        )  # fmt: skip
        with quiet():
            trainer.fit(task, datamodule=zoo.TextData(train=str(text), batch_size=8))
        if trainer.is_global_zero:
            wall, processor = seconds.median(0), seconds.median(1)
            print(f"{name}: {options.devices} processes, {wall:.1f} ms a step, {processor:.1f} ms of CPU in the first")


if __name__ == "__main__":
    main()
