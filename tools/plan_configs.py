"""Writes the table of docs/vram.md: what zoo plan says of the shipped configs on GPUs of 8, 12, 16 and 24 GB.

uv run python tools/plan_configs.py [CONFIG ...]
"""

import sys
from pathlib import Path
from typing import Any

from zoo.command import plan
from zoo.command.invocation import Request
from zoo.command.plan_process import Plan, needed
from zoo.command.settings import schema
from zoo.errors import UserError
from zoo.vram import gpus

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "vram.md"
GPUS = ("RTX 4060", "RTX 4070", "RTX 4070 Ti SUPER", "RTX 4090")
BEGIN, END = "<!-- planned by tools/plan_configs.py -->", "<!-- end of what is planned -->"
HEAD = """\
| config | batch | peak of a step | 8 GB | 12 GB | 16 GB | 24 GB |
|---|---|---|---|---|---|---|"""


def question(config: str) -> dict[str, Any]:
    request = Request.parse(["fit", "--config", config, "--trainer.accelerator", "cpu"])
    settings, _ = request.settings(schema.load())
    own = {"--vram": GPUS[1], "--labels": None}
    return plan._question(request, settings, own)[0]


def row(config: str) -> str:
    asked = question(config)
    batch = asked["batch"]
    with Plan(asked).open() as one:
        own = asked["micro_batch_size"]
        size = one.fixed_size or (min(batch, own) if isinstance(own, int) else batch)
        peak = f"{needed(one.training(size)) / 1e9:.1f} GB with {size}"
        cells = [fitting(one, gpu) for gpu in GPUS]
    return f"| {config} | {batch} | {peak} | {' | '.join(cells)} |"


def fitting(one: Plan, gpu: str) -> str:
    one.question["budget"] = gpus.named(gpu).budget()
    if fixed := one.fixed_size:
        return f"{fixed} fit" if one.fits(fixed) else "no"
    size = one.largest_piece()
    return str(one.largest_batch() if size == one.question["batch"] else size or "none")


def main(configs: list[str]) -> int:
    rows = []
    for config in configs or sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")):
        try:
            rows.append(row(config))
        except UserError as error:
            print(f"{config}: left out: {error}", file=sys.stderr)
            continue
        print(rows[-1], flush=True)
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    table = "\n".join([BEGIN, "", HEAD, *rows, "", END])
    PAGE.write_text(before + table + rest.partition(END)[2], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
