"""Metrics of generated images, against closed forms."""

import pytest
import torch

from zoo.generation import sample_metrics


def normal(count: int, mean: list[float], deviation: list[float], seed: int) -> torch.Tensor:
    drawn = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed))
    whitened = (drawn - drawn.mean(0)) / drawn.std(0)
    covariance = torch.linalg.cholesky(torch.cov(whitened.T))
    exact = whitened @ torch.linalg.inv(covariance).T
    return exact * torch.tensor(deviation) + torch.tensor(mean)


def test_the_frechet_distance_of_two_normal_distributions_is_known():
    """|difference of means|² and, with diagonal covariances, the sum of squared differences of deviations."""
    real, made = normal(500, [0, 0, 1], [1, 2, 1], 0), normal(700, [1, 0, 3], [1, 1, 4], 1)
    assert sample_metrics.frechet(real, made) == pytest.approx(1 + 4 + 1 + 9, rel=1e-3)


def test_the_frechet_distance_of_images_to_themselves_is_zero():
    real = normal(300, [0, 5], [1, 2], 0)
    assert sample_metrics.frechet(real, real) == pytest.approx(0, abs=1e-3)


def test_the_kernel_distance_of_one_distribution_is_about_zero_and_of_two_is_not():
    real, same, other = (normal(400, [mean, 0], [1, 1], seed) for mean, seed in ((0, 0), (0, 1), (3, 2)))
    assert abs(sample_metrics.kernel(real, same)) < 0.01 * sample_metrics.kernel(real, other)


def test_the_kernel_distance_needs_no_more_images_than_there_are_and_is_the_same_every_time():
    real, made = normal(30, [0, 0], [1, 1], 0), normal(20, [1, 0], [1, 1], 1)
    before = torch.get_rng_state()
    assert sample_metrics.kernel(real, made) == sample_metrics.kernel(real, made)
    assert torch.equal(torch.get_rng_state(), before)


def test_diversity_is_the_mean_distance_within_a_class():
    features = torch.tensor([[0.0, 0], [3, 4], [100, 0], [100, 1], [50, 50]])
    assert sample_metrics.diversity(features, torch.tensor([0, 0, 1, 1, 2])) == pytest.approx((5 + 1) / 2)


def test_one_image_of_each_class_has_no_diversity():
    assert sample_metrics.diversity(torch.randn(3, 2), torch.arange(3)) == 0


def test_the_nearest_comes_first():
    real = torch.tensor([[0.0], [10], [4], [5]])
    assert sample_metrics.nearest(torch.tensor([[4.4], [9]]), real, 3).tolist() == [[2, 3, 0], [1, 3, 2]]
