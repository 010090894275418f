"""Cut the power of a training at random instants: on a loop-mounted file system, as root.

    sudo python tools/stress_power.py --cuts 30

The training writes into an ext4 image. At an instant it is stopped, and the image copied as it is: with what reached
the device, and without what was only in memory. That is what a machine finds after a power cut. The copy is mounted;
whatever a checkpoint's pointer had promised before the cut must be there whole, with its rows in metrics.csv, and a run
that is resumed in the copy must end as the undisturbed one.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from stress_kill import MODES, TINY, Stress, _lines, _prepare

from zoo.files.paths import follow
from zoo.loop import checkpoint
from zoo.runs import run

FLAGS = [
    *TINY,
    *MODES["every 7 steps, validation twice an epoch"],
    "--trainer.max_epochs=12",
    "--model.schedule=constant",
]

_FOUND = (
    *("cuts", "checkpoints in the image", "of them damaged", "promised checkpoints missing or damaged"),
    *("half-written files beside", "rows missing before the newest checkpoint"),
    *("resumed to the end", "resumed otherwise"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-fsync", action="store_true", help="a control: show that the cut is one")
    asked = parser.parse_args()
    if asked.without_fsync:
        os.fsync = lambda file: None  # type: ignore[assignment]
    random.seed(asked.seed)
    torch.set_num_threads(1)
    cuts = Cuts(Path(tempfile.mkdtemp(prefix="power-")))
    while cuts.found["cuts"] < asked.cuts:
        cuts.cut()
    print("| after a power cut | |\n|---|---|")
    for name in _FOUND:
        print(f"| {name} | {cuts.found[name]} |")
    return 1 if cuts.found["promised checkpoints missing or damaged"] or cuts.found["resumed otherwise"] else 0


class Cuts:
    """Images, mounts, and what was found in them."""

    def __init__(self, folder: Path):
        self.folder, self.stress = folder, Stress(folder)
        _prepare(home := folder / "undisturbed")
        assert self.stress._wait(self.stress._start(home, FLAGS), None) == 0
        self.expected = _lines(home / "runs/stress/1")
        self.found: Counter[str] = Counter()

    def cut(self) -> None:
        image, live = self.folder / "image", self.folder / "live"
        live.mkdir(exist_ok=True)
        _run("dd", "if=/dev/zero", f"of={image}", "bs=1M", "count=48", "status=none")
        _run("mkfs.ext4", "-q", image)
        _run("mount", "-o", "loop", image, live)
        try:
            _prepare(home := live / "home")
            os.sync()
            pid = self.stress._start(home, FLAGS)
            _wait_for(home / "runs/stress/1/checkpoints/last")
            time.sleep(random.uniform(0, 3))
            os.killpg(pid, signal.SIGSTOP)
            promised = follow(home / "runs/stress/1/checkpoints/last").name
            whole = self._copy(image)
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        finally:
            _run("umount", live)
        if whole:
            self._look(promised)

    def _copy(self, image: Path) -> bool:
        """Whether nothing was written to the device meanwhile."""
        before = image.stat().st_mtime_ns
        shutil.copyfile(image, self.folder / "copy")
        return image.stat().st_mtime_ns == before

    def _look(self, promised: str) -> None:
        after = self.folder / "after"
        after.mkdir(exist_ok=True)
        _run("mount", "-o", "loop", self.folder / "copy", after)
        try:
            self.found["cuts"] += 1
            found = after / "home/runs/stress/1"
            there = {path.name: checkpoint.damage(path) for path in run.checkpoints(found)}
            self.found["checkpoints in the image"] += len(there)
            self.found["of them damaged"] += sum(wrong is not None for wrong in there.values())
            self.found["promised checkpoints missing or damaged"] += there.get(promised, "missing") is not None
            self.found["half-written files beside"] += len([*(found / "checkpoints").glob(".*.tmp")])
            if all(there.values()):
                return
            step = run.step_of(run.checkpoint_of(found, "last"))
            rows = {line.split(",")[0] for line in _lines(found)}
            self.found["rows missing before the newest checkpoint"] += sum(
                str(s) not in rows for s in range(1, step + 1)
            )
            self._resume(after, found, step)
        finally:
            _run("umount", after)

    def _resume(self, after: Path, found: Path, step: int) -> None:
        """Ten steps further, every row as in the run that nobody disturbed."""
        end = f"--trainer.max_steps={step + 10}"
        code = self.stress._wait(self.stress._start(after / "home", ["fit", "--resume", "runs/stress/1", end]), None)
        self.found["resumed to the end"] += code == 0
        self.found["resumed otherwise"] += _until(_lines(found), step + 10) != _until(self.expected, step + 10)


def _until(lines: list[str], step: int) -> list[str]:
    return [line for line in lines[1:] if int(line.split(",")[0]) < step]


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
