import subprocess
import sys

import pytest

CODE = """
import resource, torch
from zoo import host
torch.set_num_threads(1)
if {kept}: assert host.keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is told so on Linux")
@pytest.mark.parametrize("kept", [True, False])
def test_memory_that_was_freed_is_used_again_without_asking_the_kernel(kept: bool):
    """64 MB are 16,000 pages of 4 KiB, or 31 huge ones."""
    done = subprocess.run([sys.executable, "-c", CODE.format(kept=kept)], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 10) == kept
