import subprocess
import sys

import numpy as np
import torch

from zoo import streams


def test_a_stream_is_the_same_in_another_process():
    code = "from zoo import streams; print(streams.number(3, 'order', 7))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said) == streams.number(3, "order", 7)


def test_streams_of_different_names_differ():
    names = [(0,), (1,), (0, "a"), (0, "a", 1), (0, "a", 11), (0, "a1"), ("0",)]
    assert len({streams.number(*name) for name in names}) == len(names)


def test_a_permutation_has_every_index_once():
    assert sorted(streams.permutation(100, 0, "x").tolist()) == list(range(100))


def test_drawing_inside_seeded_leaves_the_global_streams_as_they_were():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    with streams.seeded(1, "elsewhere"):
        torch.rand(99)
        np.random.rand(99)  # noqa: NPY002
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002
