"""Draw docs/assets/out_of_memory.png: a run that runs out of memory twice and goes on, beside the uninterrupted one.

    uv run python tools/plot_memory.py

Both are `zoo fit --config configs/quickstart_vision.yaml`, cut to a few epochs. In the second one the callback of
tests/simulated_memory.py raises torch's out-of-memory error for more than 24 images at a time from step 40 on, and for
more than 8 from step 90 on. Prints the largest difference between the two, for the row in docs/results.md.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import yaml

ROOT = Path(__file__).parent.parent
PLOT = ROOT / "docs" / "assets" / "out_of_memory.png"
SHORTAGES = {40: 24, 90: 8}
"""From this step on, so many images fit."""
EPOCHS = 6


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "tests" / "simulated_memory.py", folder)
        full = [
            {"class_path": "simulated_memory.Full", "init_args": {"room": room, "first_step": step}}
            for step, room in SHORTAGES.items()
        ]
        (folder / "shortage.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": full}}))
        (folder / "short.yaml").write_text(
            yaml.safe_dump({"trainer": {"max_epochs": EPOCHS, "log_every_n_steps": 1, "check_val_every_n_epoch": 1}})
        )
        undisturbed = trained(folder, "uninterrupted")
        disturbed = trained(folder, "shortage", "--config", "shortage.yaml")
    difference = max(
        abs(float(a["train/loss"]) - float(b["train/loss"])) / float(a["train/loss"])
        for a, b in zip(losses(undisturbed), losses(disturbed), strict=True)
    )
    print(f"{len(losses(undisturbed))} steps, largest relative difference of a loss: {difference:.1e}")
    draw(undisturbed, disturbed)


def trained(folder: Path, name: str, *flags: str) -> list[dict[str, str]]:
    """Rows of the run's metrics.csv."""
    configs = ["--config", str(ROOT / "configs" / "quickstart_vision.yaml"), "--config", "short.yaml", *flags]
    zoo = [sys.executable, "-m", "zoo", "fit", *configs, "--name", name, "--trainer.accelerator", "cpu"]
    said = subprocess.run(zoo, cwd=folder, text=True, stdout=subprocess.PIPE, check=True).stdout
    print(*[line for line in said.splitlines() if "out of memory" in line.lower()], sep="\n")
    with open(folder / "runs" / name / "1" / "metrics.csv", newline="") as file:
        return [*csv.DictReader(file)]


def losses(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["train/loss"]]


def draw(undisturbed: list[dict[str, str]], disturbed: list[dict[str, str]]) -> None:
    mpl.rcParams |= {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 4.6), sharex=True, height_ratios=[3, 1], constrained_layout=True
    )
    for rows, style in ((undisturbed, UNINTERRUPTED), (disturbed, SHORT_OF_MEMORY)):
        points = losses(rows)
        steps = [int(row["step"]) for row in points]
        top.plot(steps, [float(row["train/loss"]) for row in points], **style)
        bottom.step(steps, [float(row["train/micro_batch_size"]) for row in points], where="mid", **style)
    for step in SHORTAGES:
        for axes in (top, bottom):
            axes.axvline(step + 1, color="#c62828", linewidth=1, linestyle=":")
        top.annotate(
            "out of memory", (step + 1, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", color="#c62828", va="top",
        )  # fmt: skip
    top.set_ylabel("training loss")
    top.legend(frameon=False, loc="lower left")
    bottom.set_yscale("log", base=2)
    bottom.set_yticks([8, 16, 32, 64], ["8", "16", "32", "64"])
    bottom.set(ylabel="images\nat a time", xlabel="step (each one a batch of 64 images, the last one of an epoch 41)")
    figure.savefig(PLOT, dpi=120)
    print(f"written: {PLOT.relative_to(ROOT)}")


UNINTERRUPTED = {"color": "#80cbc4", "linewidth": 5, "label": "uninterrupted"}
SHORT_OF_MEMORY = {"color": "#004d40", "linewidth": 1.2, "label": "runs out of memory twice, and goes on"}


if __name__ == "__main__":
    main()
