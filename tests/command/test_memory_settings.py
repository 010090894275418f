import os
import subprocess
import sys
from pathlib import Path

import pytest

_LARGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_VARIABLES = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "THP_MEM_ALLOC_ENABLE", "GLIBC_TUNABLES"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="these allocators are Linux's")

SEGMENTS = "import os; m.let_gpu_blocks_grow(); print(os.environ.get('PYTORCH_ALLOC_CONF'))"


def said(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES} | variables
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    code = f"import zoo.command.memory_settings as m\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


@linux
def test_segments_grow_unless_the_user_says_otherwise():
    assert said(SEGMENTS) == "expandable_segments:True"
    assert said(SEGMENTS, PYTORCH_ALLOC_CONF="max_split_size_mb:64") == "max_split_size_mb:64"
    assert said(SEGMENTS, PYTORCH_CUDA_ALLOC_CONF="max_split_size_mb:64") == "None"


@linux
def test_segments_do_not_grow_under_wsl2():
    released = (
        "import platform; platform.uname = lambda: type('', (), {'release': '6.6.87.2-microsoft-standard-WSL2'})\n"
    )
    assert said(released + SEGMENTS) == "None"


def faults(call: str, work: str, **variables: str) -> int:
    """Page faults of `work`, after `call` and with torch imported."""
    code = f"""
import resource
{call}
import torch
{work}
"""
    return int(said(code, **variables))


COUNT = "resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
TENSOR = f"before = {COUNT}; torch.ones(16_000_000); print({COUNT} - before)"


@pytest.mark.skipif(not _LARGE.is_file() or "[madvise]" not in _LARGE.read_text(), reason="no large pages on request")
def test_tensors_on_the_cpu_are_made_of_large_pages():
    """A tensor of 64 MB is 16,000 pages of 4 KiB, or 31 of 2 MiB and what lies around them."""
    assert faults("m.take_large_pages()", TENSOR) < 5_000 < 15_000 < faults("", TENSOR)


STEPS = f"""
def step():
    kept = [torch.ones(125_000) for _ in range(300)]  # 0.5 MB each, freed together at the end, as activations are

for _ in range(3):
    step()
before = {COUNT}
for _ in range(4):
    step()
print(({COUNT} - before) // 4)
"""


@linux
def test_what_a_step_has_freed_is_there_for_the_next_one():
    """150 MB are 38,000 pages of 4 KiB (2,400 of 64), which glibc by itself gives back and takes anew in every step."""
    assert faults("m.keep_freed_memory()", STEPS) < 100
    assert faults("", STEPS) > 1_000


@linux
def test_who_has_told_glibc_something_else_has_the_last_word():
    told = {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1048576"}
    assert faults("m.keep_freed_memory()", STEPS, **told) > 1_000


@linux
def test_the_command_sets_all_three():
    code = (
        """
import os, resource, sys
m.set_all()
import torch
"""
        + STEPS
    )
    assert int(said(code)) < 100
    names = f"import os; m.set_all(); print(*sorted(os.environ.keys() & {_VARIABLES}))"
    assert said(names) == "PYTORCH_ALLOC_CONF THP_MEM_ALLOC_ENABLE"
