"""What happens before torch is imported."""

import os
import subprocess
import sys

import pytest

CODE = "import os, zoo.__main__ as m; m._let_memory_grow(); print(os.environ.get('PYTORCH_ALLOC_CONF'))"


def said(**variables: str) -> str:
    hidden = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | variables
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="other drivers cannot grow segments")
def test_segments_grow_unless_the_user_says_otherwise():
    assert said() == "expandable_segments:True"
    assert said(PYTORCH_ALLOC_CONF="max_split_size_mb:64") == "max_split_size_mb:64"
    assert said(PYTORCH_CUDA_ALLOC_CONF="max_split_size_mb:64") == "None"
