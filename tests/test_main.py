"""What happens before torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LARGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

CODE = "import os, zoo.__main__ as m; m._let_memory_grow(); print(os.environ.get('PYTORCH_ALLOC_CONF'))"


def said(code: str = CODE, **variables: str) -> str:
    hidden = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | variables
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="other drivers cannot grow segments")
def test_segments_grow_unless_the_user_says_otherwise():
    assert said() == "expandable_segments:True"
    assert said(PYTORCH_ALLOC_CONF="max_split_size_mb:64") == "max_split_size_mb:64"
    assert said(PYTORCH_CUDA_ALLOC_CONF="max_split_size_mb:64") == "None"


@pytest.mark.skipif(sys.platform != "linux", reason="other drivers cannot grow segments")
def test_segments_do_not_grow_under_wsl2():
    released = (
        "import platform; platform.uname = lambda: type('', (), {'release': '6.6.87.2-microsoft-standard-WSL2'})\n"
    )
    assert said(released + CODE) == "None"


def pages(call: str) -> int:
    """How many pages a fresh tensor of 64 MB is made of."""
    code = f"""
import resource, zoo.__main__ as m
{call}
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("THP_MEM_ALLOC_ENABLE", None)  # commands run in this process have set it
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(not _LARGE.is_file() or "[madvise]" not in _LARGE.read_text(), reason="no large pages on request")
def test_tensors_on_the_cpu_are_made_of_large_pages():
    """16,000 of 4 KiB, or 31 of 2 MiB and what lies around them."""
    assert pages("m._take_large_pages()") < 5_000 < 15_000 < pages("")


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
