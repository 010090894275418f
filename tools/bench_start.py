"""How long commands take that train nothing, beside a bare LightningCLI: wall time of the whole process.

python tools/bench_start.py [--repeat 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
WRONG = "model: {class_path: zoo.CausalLM, init_args: {max_lenght: 8}}\ndata: {class_path: zoo.TextData}\n"
BARE = """\
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel, BoringDataModule
LightningCLI(BoringModel, BoringDataModule)
"""
COMMANDS = (
    "", "--help", "fit --help", "fit --model zoo.CausalLM --help", "fit --config wrong.yaml", "fit --config nope.yaml",
    "fti", "list", "runs", "doctor", "init text --out -", "completion words fit --trainer.max_ep",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wrong.yaml").write_text(WRONG)
        print("command | seconds (median of", repeat, "processes)\n---|---")
        for command in COMMANDS:
            print(f"zoo {command} | {seconds(['-m', 'zoo', *command.split()], folder, repeat):.2f}")
        print(f"a bare LightningCLI, fit --help | {seconds(['-c', BARE, 'fit', '--help'], folder, repeat):.2f}")
        print(f"python alone | {seconds(['-c', 'pass'], folder, repeat):.2f}")


def seconds(arguments: list[str], folder: str, repeat: int) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    taken = []
    for _ in range(repeat):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
