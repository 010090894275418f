"""What a second process brings: the same batch in one process and shared by two (gloo, one thread each).

    uv run tools/bench_processes.py

Two processes halve what grows with the samples, and nothing else: each of them updates all weights, and each operation
has a cost of its own however few samples it sees. So one process with half of the batch is measured too: it needs what
each of two would need if they had nothing to tell each other. A row says how much faster two are, and how much faster
they could be at most, by that bound; both by the clock, and by what the first process has used of a processor, which
does not count the waiting for a core that others use too, nor the waiting for the other process.

Many small tensors (12 layers of 64) show the cost of operations, few large ones (2 layers of 512) that of weights and
gradients, and the same with 8 times the samples what is left of both where there is computing to share. Times are
medians over the steps. The clock needs two cores that nobody else uses.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}

SMALL, LARGE = {"n_layer": 12, "n_embd": 64}, {"n_layer": 2, "n_embd": 512}
CASES: dict[str, tuple[dict[str, int], int]] = {
    "12 layers of 64, batch 8": (SMALL, 8),
    "2 layers of 512, batch 8": (LARGE, 8),
    "2 layers of 512, batch 64": (LARGE, 64),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--one", nargs=3, metavar=("CASE", "BATCH", "PROCESSES"), help="a single measurement, as JSON")
    options = parser.parse_args()
    if options.one:
        measure(options.one[0], int(options.one[1]), int(options.one[2]), options.steps)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores; milliseconds of a step, and in brackets those of a processor", flush=True)
    for case, (_, batch) in CASES.items():
        one = asked(case, batch, 1, options.steps)
        half = asked(case, batch // 2, 1, options.steps)
        two = asked(case, batch, 2, options.steps)
        print(
            f"{case}: one process {said(one)}, two {said(two)}, one with half of the batch {said(half)}. "
            f"By the clock {times(one, two, half, 'clock')}; by processor time {times(one, two, half, 'processor')}",
            flush=True,
        )


def asked(case: str, batch: int, processes: int, steps: int) -> dict[str, float]:
    """A measurement in a process of its own, as what libraries set up is there once only."""
    command = [sys.executable, __file__, "--steps", str(steps), "--one", case, str(batch), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def said(found: dict[str, float]) -> str:
    return f"{found['clock']:.1f} ({found['processor']:.1f})"


def times(one: dict[str, float], two: dict[str, float], half: dict[str, float], by: str) -> str:
    return f"{one[by] / two[by]:.2f} times as fast, at most {one[by] / half[by]:.2f}"


def measure(case: str, batch: int, processes: int, steps: int) -> None:
    import torch
    from lightning.pytorch import Callback

    import zoo
    from zoo.command.silenced_warnings import quiet

    class Moments(Callback):
        """When each step begins: on the wall, and by what this process has used of a processor."""

        def __init__(self) -> None:
            self.at: list[tuple[float, float]] = []

        def on_train_batch_start(self, *_: Any) -> None:
            self.at.append((time.perf_counter(), time.process_time()))

        def median(self, clock: int) -> float:
            times = [moment[clock] for moment in self.at[5:]]
            return 1000 * statistics.median(b - a for a, b in pairwise(times))

    torch.set_num_threads(1)
    text = Path(tempfile.gettempdir()) / "bench-processes.txt"
    text.write_text("\n".join(f"The {i}th fox jumps over {i * i} lazy dogs." for i in range(20_000)))
    architecture = {"model_type": "gpt2", "n_head": 4, "n_positions": 64, **CASES[case][0]}
    task = zoo.CausalLM(
        architecture=architecture, vocab_size=400, max_length=64, optimizer=partial(torch.optim.AdamW, lr=1e-3)
    )
    moments = Moments()
    trainer = zoo.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        max_steps=steps, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[moments],
    )  # fmt: skip
    with quiet():
        trainer.fit(task, datamodule=zoo.TextData(train=str(text), batch_size=batch))
    assert torch.get_num_threads() == 1
    if trainer.is_global_zero:
        print(json.dumps({"clock": moments.median(0), "processor": moments.median(1)}))


if __name__ == "__main__":
    main()
