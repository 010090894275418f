"""What tells data apart."""

import itertools

from zoo.loading import items


def test_samples_that_are_cut_elsewhere_are_other_samples():
    cuts = [["abc"], ["a", "bc"], ["ab", "c"], ["a", "b", "c"], ["", "abc"], ["abc", ""]]
    lengths_apart = [one.partition(", ")[2] for one in (items.digest(cut, str.encode) for cut in cuts)]
    assert all(one != other for one, other in itertools.combinations(lengths_apart, 2))
    assert items.digest(["a", "bc"], str.encode) == items.digest(["a", "bc"], str.encode)
