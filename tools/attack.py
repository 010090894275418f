"""Run every attack again, one after the other, and print one table for docs/explanation/reliability.md.

    python tools/attack.py [--scale 0.1]

Each is a tool of its own, whose output is kept in a folder; what it is for stands there. The power cuts need root.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent
ATTACKS = {
    "killed at random instants": ("stress_kill.py --kills", 200),
    "power cut at random instants": ("stress_power.py --cuts", 25),
    "files mutated, of each kind": ("fuzz_readers.py --count", 5000),
    "configs and command lines mutated": ("fuzz_settings.py --count", 5000),
}
"""What is done, by which tool, and how often at scale 1."""


@dataclass(frozen=True)
class Outcome:
    """Of one attack.

    Args:
        code: the tool's exit status: 0 where every promise held.
    """

    what: str
    command: str
    code: int
    seconds: float


def attack(what: str, scale: float, folder: Path) -> Outcome:
    tool, often = ATTACKS[what]
    command = [*tool.split(), str(max(1, round(scale * often)))]
    begun = time.monotonic()
    with open(folder / f"{Path(command[0]).stem}.txt", "w") as log:
        code = subprocess.run(
            [sys.executable, TOOLS / command[0], *command[1:]], stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    return Outcome(what, f"tools/{' '.join(command)}", code, time.monotonic() - begun)


def table(outcomes: list[Outcome]) -> list[str]:
    lines = ["| attack | command | every promise held | minutes |", "|---|---|---|---|"]
    for one in outcomes:
        held = "yes" if one.code == 0 else f"**no** (exit {one.code})"
        lines.append(f"| {one.what} | `python {one.command}` | {held} | {one.seconds / 60:.0f} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how often each is done, against the documented tables"
    )
    scale = parser.parse_args().scale
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    outcomes = []
    for what in ATTACKS:
        print(f"{what}: output in {folder} …", file=sys.stderr, flush=True)
        outcomes.append(attack(what, scale, folder))
    cores = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"Measured on {datetime.date.today()}, {cores}:", "", *table(outcomes), sep="\n")
    return int(any(one.code for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
