from itertools import chain

import pytest
import torch

from zoo.loop import microbatch
from zoo.loop.ranks import Together


@pytest.mark.parametrize(
    ("length", "at_most", "sizes"),
    [(16, 6, [6, 5, 5]), (16, 4, [4, 4, 4, 4]), (5, None, [5]), (1, 8, [1]), (0, 4, []), (0, None, []), (7, 6, [4, 3])],
)
def test_pieces_are_few_and_even(length: int, at_most: int | None, sizes: list[int]):
    assert microbatch.even_sizes(length, at_most) == sizes


def test_cutting_keeps_every_sample_in_order_and_shares_the_rest():
    batch = {"x": torch.arange(10).reshape(5, 2), "names": list("abcde"), "scale": 2.0, "size": (3, 4)}
    pieces = list(microbatch.cut(batch, 2))
    assert [start for start, _ in pieces] == [0, 2, 4]
    assert torch.equal(torch.cat([piece["x"] for _, piece in pieces]), batch["x"])
    assert list(chain.from_iterable((piece["names"] for _, piece in pieces))) == batch["names"]
    assert all(piece["scale"] == 2.0 and piece["size"] == (3, 4) for _, piece in pieces)


def test_a_batch_whose_entries_differ_in_length_is_refused():
    with pytest.raises(ValueError, match="differ in their number of samples"):
        microbatch.batch_length({"x": torch.zeros(3), "y": torch.zeros(4)})


def gradient(loss, at_most: int | None, counts=None) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    batch = {"x": torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), "n": torch.arange(7)}
    totals = microbatch.accumulate(
        batch, at_most=at_most, loss=lambda piece: loss(weight, piece), backward=lambda x: x.backward(),
        to_device=lambda piece: piece, stream=(0,), counts=counts,
    )  # fmt: skip
    whole = microbatch.whole(totals, [weight], Together())
    assert whole is not None
    microbatch.finish(totals, whole, [weight])
    assert weight.grad is not None
    return weight.grad


def weighted(weight: torch.Tensor, batch: microbatch.Batch) -> microbatch.Pair:
    """Samples with very different numbers of targets."""
    return ((batch["x"] @ weight) ** 2 * batch["n"]).sum(), batch["n"].sum()


@pytest.mark.parametrize("at_most", [None, 1, 2, 3])
def test_the_gradient_is_that_of_the_mean_over_all_targets(at_most: int | None):
    weight = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    x, n = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    (((x @ weight) ** 2 * n).sum() / n.sum()).backward()
    assert torch.allclose(gradient(weighted, at_most), weight.grad, rtol=1e-6)


@pytest.mark.parametrize("targets", [1, 1000, 1_000_000])
def test_what_goes_backward_is_about_a_mean(targets: int):
    """In 16 bits the gradient of a sum over many targets would leave the range of numbers."""
    passed: list[float] = []
    weight = torch.nn.Parameter(torch.ones(()))

    def loss(piece: microbatch.Batch) -> microbatch.Pair:
        return (weight * piece["x"]).sum() * targets, 2 * targets

    microbatch.accumulate(
        {"x": torch.full((4,), 3.0)}, at_most=2, loss=loss,
        backward=lambda loss: passed.append(float(loss.detach())), to_device=lambda piece: piece, stream=(0,),
    )  # fmt: skip
    assert 3 / 1.5 < sum(passed) < 3 * 1.5


def two_pairs(weight: torch.Tensor, batch: microbatch.Batch) -> dict[str, microbatch.Pair]:
    return {"main": weighted(weight, batch), "other": ((batch["x"] @ weight).sum(), len(batch["n"]))}


def test_several_pairs_are_each_divided_by_their_own_count():
    whole = gradient(two_pairs, None, counts={"main": torch.tensor(21), "other": torch.tensor(7)})
    pieces = gradient(two_pairs, 2, counts={"main": torch.tensor(21), "other": torch.tensor(7)})
    weight = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    x, n = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    (((x @ weight) ** 2 * n).sum() / 21 + (x @ weight).sum() / 7).backward()
    assert torch.allclose(whole, weight.grad)
    assert torch.allclose(pieces, weight.grad)


def test_several_pairs_in_pieces_ask_for_their_counts():
    with pytest.raises(ValueError, match=r"Write count_targets\(batch\)"):
        gradient(two_pairs, 2)


def test_a_batch_without_targets_has_no_gradient():
    def nothing(weight: torch.Tensor, batch: microbatch.Batch) -> microbatch.Pair:
        return (batch["x"] @ weight).sum() * 0, 0

    assert torch.equal(gradient(nothing, 3), torch.zeros(2))
