"""Every benchmark, short, one after the other: has anything become slower than what it is measured beside?

    uv run --with accelerate python tools/bench_all.py --assets FOLDER [--only vision text] [--out docs/benchmarks.md]

Writes a page with what each of them has printed, the machine, the date and the command. The clock is that of this
machine: nothing else should run on it, and only ratios within a table say something. FOLDER has tinyshakespeare.txt and
smollm2/ (a tokenizer); what needs it is left out, and named, without it.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Benchmark:
    """One tool, with arguments under which it takes minutes.

    Args:
        title: of what it compares.
        arguments: {assets} is the folder of weights and texts.
    """

    title: str
    arguments: str = ""


BENCHMARKS = {
    "vision": Benchmark(
        "Training on images, beside timm's train.py and a bare loop", "--rounds 3 --tables step training --workers 1"
    ),
    "imagefolder": Benchmark("Listing and reading a folder of images, beside datasets' imagefolder", "--files 4000"),
    "text": Benchmark(
        "Training on text, beside a bare loop and HF Trainer",
        "--text {assets}/tinyshakespeare.txt --tokenizer {assets}/smollm2 --rounds 3 --steps 8 "
        "--baselines zoo zoo_concat bare bare_memory hf_trainer",
    ),
    "documents": Benchmark("Attention of packed documents, beside a mask", "--rounds 3"),
    "tokens": Benchmark(
        "Texts to cached tokens, beside datasets.map",
        "--text {assets}/tinyshakespeare.txt --tokenizer {assets}/smollm2 --repeats 2 --rounds 2",
    ),
    "text_reading": Benchmark("Reading 200 MB of text, beside datasets.load_dataset"),
    "recordings": Benchmark("Resamplers, and reading recordings of each format", "--rounds 3"),
    "processes": Benchmark("Two processes, beside one", "--steps 30"),
    "offload": Benchmark("Activations in host memory: what it would buy and cost on a GPU"),
    "start": Benchmark("Commands that train nothing, beside a bare LightningCLI", "--repeat 2"),
}
"""By the name of their file, tools/bench_{name}.py."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=os.environ.get("ZOO_ASSETS"))
    parser.add_argument("--only", nargs="+", choices=[*BENCHMARKS], default=[*BENCHMARKS])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    asked = parser.parse_args()
    assets = asked.assets.resolve() if asked.assets else None
    sections = []
    for name in asked.only:
        print(f"{name} …", flush=True)
        sections += section(name, BENCHMARKS[name], assets)
        asked.out.write_text("\n".join([*head(), *sections]), "utf-8")
    print(f"written: {asked.out}")


def head() -> list[str]:
    return [
        "# Benchmarks",
        "",
        "`tools/bench_all.py` wrote this page. It runs every benchmark briefly, one after the other, and each compares",
        "sides that take turns in one run. Only the ratios within a table say something. Other pages explain them:",
        "[Text](explanation/text.md), [Images](explanation/images.md), [Packing](explanation/packing.md).",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), no GPU, {platform.system()}, "
        f"Python {platform.python_version()}, {datetime.date.today()}.",
        "",
    ]


def section(name: str, benchmark: Benchmark, assets: Path | None) -> list[str]:
    """Heading, command and what it prints; or why there is nothing."""
    command = f"python tools/bench_{name}.py {benchmark.arguments}".strip()
    lines = [f"## {benchmark.title}", "", "```bash", command.replace("{assets}", "assets"), "```", ""]
    if "{assets}" in command and assets is None:
        return [*lines, "It was left out: no folder with assets was given.", ""]
    arguments = [part.format(assets=assets) for part in benchmark.arguments.split()]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tools" / f"bench_{name}.py"), *arguments],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        return [*lines, f"It failed: {done.stderr.strip().splitlines()[-1]}", ""]
    return [*lines, "```text", done.stdout.rstrip(), "```", ""]


if __name__ == "__main__":
    main()
