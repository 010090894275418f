"""The tool for the first minutes on a GPU, as far as it can be held without one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAILING = """
import pytest
@pytest.mark.parametrize("x", [1, 2, 3])
def test_numbers_are_odd(x):
    assert x % 2, f"{x} is even"
def test_what_has_no_place():
    pytest.skip("no")
def test_setup_is_counted(missing): ...
"""


def test_without_a_gpu_it_says_so_in_one_line():
    command = [sys.executable, "tools/gpu_check.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "zoo doctor" in done.stderr


def test_the_table_has_a_row_for_each_test_with_the_cases_that_failed(tmp_path: Path):
    (tmp_path / "test_some.py").write_text(FAILING)
    code = "import gpu_check, pytest; results = gpu_check.Results(); pytest.main(['-q'], plugins=[results]);"
    said = subprocess.run(
        [sys.executable, "-c", f"{code} print('', *gpu_check.table(results.all), sep='\\n')"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "tools")}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    head, _, numbers, setup = said.splitlines()[-4:]
    assert head == "| what should hold | holds | seconds |"
    assert numbers == "| numbers are odd | 2 of 3<br>**2**: 2 is even | 0 |"
    assert setup.startswith("| setup is counted | 0 of 1<br>")
