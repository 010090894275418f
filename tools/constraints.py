"""Write constraints.txt: the exact version of every package of this environment, as the tests last passed with them.

    uv run python tools/constraints.py

Somebody who wants the same versions installs with `uv pip install -c constraints.txt …`. It names versions only, and no
place that packages come from. A run's environment.json can be held against it.
"""

import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

TARGET = Path(__file__).parent.parent / "constraints.txt"


def main() -> None:
    freeze = ["uv", "pip", "freeze", "--exclude-editable", "--python", sys.executable]
    said = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    versions = [line for line in said.splitlines() if re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)]
    made = f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}, {date.today()}"
    TARGET.write_text("\n".join([made, *versions]) + "\n")
    print(f"{TARGET.name}: {len(versions)} packages")


if __name__ == "__main__":
    main()
