"""Schedules, times, targets and weights of diffusion, against closed forms and diffusers' own numbers."""

import math
from typing import get_args

import pytest
import torch
from diffusers import DDPMScheduler

from zoo.models import noise
from zoo.models.noise import Prediction

PREDICTIONS = get_args(Prediction)
DIFFUSERS = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("schedule", DIFFUSERS)
def test_a_schedule_is_the_one_that_diffusers_knows_by_that_name(schedule: str):
    theirs = DDPMScheduler(**DIFFUSERS[schedule]).alphas_cumprod
    assert torch.allclose(noise.alpha_bar(schedule), theirs, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("schedule", DIFFUSERS)
def test_the_variance_of_a_noisy_image_is_that_of_image_and_noise(prediction: Prediction, schedule: str):
    signal, noise_share, told = noise.at_time(torch.linspace(0, 1, 50), prediction, schedule)
    assert torch.allclose(signal**2 + noise_share**2, torch.ones(50, 1, 1, 1))
    assert told.tolist() == [min(999, int(1000 * t)) for t in torch.linspace(0, 1, 50).tolist()]


def test_a_flow_goes_along_a_line_from_image_to_noise():
    signal, noise_share, told = noise.at_time(torch.tensor([0.0, 0.25, 1.0]), "flow", "linear")
    assert signal.flatten().tolist() == [1, 0.75, 0]
    assert noise_share.flatten().tolist() == [0, 0.25, 1]
    assert told.tolist() == [0, 250, 1000]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_image_is_had_back_from_the_target(prediction: Prediction):
    image, drawn = random(9, 1, 2, 2), random(9, 1, 2, 2, 1)[..., 0]
    signal, noise_share, _ = noise.at_time(torch.linspace(0.02, 0.9, 9), prediction, "cosine")
    said = noise.target(prediction, image, drawn, signal, noise_share)
    noisy = signal * image + noise_share * drawn
    assert torch.allclose(noise.image_of(prediction, said, noisy, signal, noise_share), image, atol=1e-4)


def test_v_and_epsilon_are_diffusers_own():
    scheduler = DDPMScheduler()
    image, drawn, times = random(4, 1, 2, 2), random(4, 1, 2, 2, 1)[..., 0], torch.tensor([0, 10, 500, 999])
    signal, noise_share, told = noise.at_time((times + 0.5) / 1000, "v", "linear")
    assert told.tolist() == times.tolist()
    assert torch.allclose(signal * image + noise_share * drawn, scheduler.add_noise(image, drawn, times), atol=1e-5)
    velocity = noise.target("v", image, drawn, signal, noise_share)
    assert torch.allclose(velocity, scheduler.get_velocity(image, drawn, times), atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_weighs_an_error_of_the_image_alike_whatever_is_predicted(prediction: Prediction):
    """An error of the image of size 1 counts min(snr, 5), as in the paper for a network that predicts the image."""
    path: Prediction = "flow" if prediction == "flow" else "v"
    signal, noise_share, _ = noise.at_time(torch.tensor([0.05, 0.2, 0.4, 0.7, 0.95]), path, "linear")
    noisy, image = random(5, 1, 2, 2), random(5, 1, 2, 2, 1)[..., 0]

    def said(image: torch.Tensor) -> torch.Tensor:
        return noise.target(prediction, image, (noisy - signal * image) / noise_share, signal, noise_share)

    error = (said(image + 1) - said(image)) ** 2
    weighed = noise.weight("min_snr", prediction, signal, noise_share) * error
    expected = ((signal / noise_share) ** 2).clamp(max=5).expand_as(weighed)
    assert torch.allclose(weighed, expected, rtol=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_weight_is_finite_where_nothing_of_the_image_is_left(prediction: Prediction):
    signal, noise_share = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    expected = 1.0 if prediction == "epsilon" else 0.0
    assert noise.weight("min_snr", prediction, signal, noise_share).item() == expected


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_without_a_weighting_every_time_counts_the_same(prediction: Prediction):
    signal, noise_share, _ = noise.at_time(torch.linspace(0, 1, 5), prediction, "linear")
    assert noise.weight("none", prediction, signal, noise_share).tolist() == torch.ones(5, 1, 1, 1).tolist()


def drawn(density: noise.TimeDensity) -> torch.Tensor:
    stream = torch.Generator().manual_seed(0)
    return torch.stack([noise.draw_time(density, stream) for _ in range(20_000)])


def test_uniform_times_are_spread_evenly():
    times = drawn("uniform")
    assert times.mean().item() == pytest.approx(1 / 2, abs=0.01)
    assert times.var().item() == pytest.approx(1 / 12, abs=0.002)


def test_logit_normal_times_have_the_quantiles_of_a_normal_through_a_sigmoid():
    times = drawn("logit_normal")
    shares = torch.tensor([0.1587, 0.5, 0.8413])  # of a normal below -1, 0 and 1
    expected = [1 / (1 + math.exp(-z)) for z in (-1, 0, 1)]
    assert times.quantile(shares).tolist() == pytest.approx(expected, abs=0.01)
