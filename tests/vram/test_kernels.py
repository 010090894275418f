"""What `as_on_cuda` makes of the CPU's dispatcher, against CUDA's own on tensors without content."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "streams_on_cuda.py"


@pytest.fixture(scope="module")
def streams() -> dict[str, list[list]]:
    if torch.version.cuda is None:
        pytest.skip("this torch was not built for CUDA")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list]] = {}
    for line in done.stdout.splitlines():
        name, *rest = json.loads(line)
        found.setdefault(name, []).append(rest)
    return found


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "ViT", "others"])
def test_autocast_computes_the_same_operations_in_the_same_types_as_on_cuda(streams: dict, name: str):
    assert [(kind, differing) for kind, _, differing, *_ in streams[name]] == [
        ("torch.float16", []),
        ("torch.bfloat16", []),
    ]


def test_batch_norm_is_another_operation_and_makes_as_many_bytes(streams: dict):
    assert all(ours == pytest.approx(theirs, rel=0.01) for *_, ours, theirs in streams["ResNet"])
