"""What happens before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTED = """
import sys
from zoo.__main__ import main
main(sys.argv[1:])
print("heavy:", {"torch", "lightning"} & {*sys.modules})
"""
QUICK = ["--help", "fit --help", "fit --model zoo.CausalLM --help", "fit --data.batch_sise 3", "list", "runs"]


@pytest.mark.parametrize("command", [*QUICK, "init nothing"])
def test_what_needs_no_torch_does_not_import_it(command: str, here: Path):
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED, *command.split()], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines()[-1:] == ["heavy: set()"], run.stderr
