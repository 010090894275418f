"""GPUs by name, and what of their memory is left for torch."""

import pytest

from zoo.errors import ConfigError
from zoo.vram import gpus


@pytest.mark.parametrize("name", ["RTX 4070 Ti", "rtx4070ti", "NVIDIA GeForce RTX 4070 Ti", "4070 Ti"])
def test_a_gpu_is_known_by_its_name_however_it_is_written(name: str):
    assert gpus.named(name).total == 12282 * 2**20


@pytest.mark.parametrize(("text", "size"), [("12GB", 12e9), ("11.5 GiB", 11.5 * 2**30), ("16000MB", 16e9)])
def test_a_gpu_may_be_named_by_its_memory(text: str, size: float):
    assert gpus.named(text).total == size


@pytest.mark.parametrize(
    ("name", "hint"), [("RTX 4070 Tie", "RTX 4070 Ti"), ("a toaster", "its memory"), ("12", "12GB")]
)
def test_an_unknown_gpu_is_named_with_the_nearest(name: str, hint: str):
    with pytest.raises(ConfigError, match=hint):
        gpus.named(name)


def test_torch_gets_what_cuda_the_margin_and_others_leave():
    gpu = gpus.Gpu("", 12 * 10**9, 10 * 10**9, (8, 9))
    assert gpu.budget() == 10 * 10**9 - gpus.CONTEXT - int(0.04 * 12 * 10**9)
    assert gpu.budget(5 * 10**9) == 5 * 10**9
    assert gpus.Gpu("", 10**9, 0, (8, 9)).budget() == 0
