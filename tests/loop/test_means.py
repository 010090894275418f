import torch

from zoo.loop.means import ExactMeans


def test_sums_are_exact_where_32_bits_round():
    means = ExactMeans()
    for total, count in ((2.0**24, 2), (1.0, 1), (1.0, 1)):
        means.add((torch.tensor(total), count), torch.device("cpu"))
    assert means.over_all_processes() == ({"loss": (2.0**24 + 2) / 4}, {"loss": 4.0})
