"""Diffusers' samplers agree with what a network is trained for: images of a known distribution come out as they are."""

from typing import Any

import pytest
import torch

from zoo.errors import ConfigError
from zoo.models import noise, samplers
from zoo.models.class_pipeline import denoise
from zoo.models.noise import Prediction

MEAN, DEVIATION = 0.4, 0.3
FLOW = [{"name": "FlowMatchEulerDiscreteScheduler"}, {"name": "DPMSolverMultistepScheduler"}]
FLOW += [{"name": "UniPCMultistepScheduler"}]
DISCRETE: list[dict[str, Any]] = [
    {"name": "DDIMScheduler", "clip_sample": False},
    {"name": "DDPMScheduler", "clip_sample": False},
    {"name": "DPMSolverMultistepScheduler"},
    {"name": "EulerDiscreteScheduler"},
]
PAIRS = [("flow", sampler) for sampler in FLOW]
PAIRS += [(prediction, sampler) for prediction in ("epsilon", "v", "x0") for sampler in DISCRETE]


def best(prediction: Prediction, noisy: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """What a perfect network says where every pixel is drawn from N(0.4, 0.3²): the mean of its target."""
    time = told.float() / noise.STEPS if prediction == "flow" else (told.float() + 0.5) / noise.STEPS
    signal, noise_share, _ = noise.at_time(time, prediction, "linear")
    surplus = (noisy - signal * MEAN) / (signal**2 * DEVIATION**2 + noise_share**2)
    image, drawn = MEAN + signal * DEVIATION**2 * surplus, noise_share * surplus
    return noise.target(prediction, image, drawn, signal, noise_share)


def sampled(prediction: Prediction, sampler: dict[str, Any] | None, steps: int = 200, guidance: float = 1.0) -> Any:
    scheduler = samplers.make(sampler, prediction, "linear")
    stream = torch.Generator().manual_seed(0)
    drawn, labels = torch.randn(64, 1, 16, 16, generator=stream), torch.zeros(64, dtype=torch.long)

    def predict(noisy: torch.Tensor, told: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return best(prediction, noisy, told)

    return denoise(predict, scheduler, drawn, labels, 0, guidance, steps, stream)


@pytest.mark.parametrize(("prediction", "sampler"), PAIRS)
def test_samples_of_a_perfect_network_have_the_mean_and_deviation_of_the_images(
    prediction: Prediction, sampler: dict[str, Any]
):
    images = sampled(prediction, sampler, 1000 if "DDPM" in sampler["name"] else 200)  # it draws noise at every step
    assert images.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert images.std().item() == pytest.approx(DEVIATION, abs=0.015)


def test_guidance_makes_no_difference_where_the_class_does_not():
    assert torch.allclose(sampled("flow", None, 10, guidance=3.0), sampled("flow", None, 10), atol=1e-4)


def test_guidance_goes_past_what_is_said_with_the_class():
    """Of a class at +1 and none at 0, a guidance of 2 says +2."""
    scheduler = samplers.make(None, "flow", "linear")

    def predict(noisy: torch.Tensor, told: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (labels == 3).float().view(-1, 1, 1, 1).expand_as(noisy)

    start = torch.zeros(2, 1, 4, 4)
    images = denoise(predict, scheduler, start, torch.tensor([3, 7]), 7, 2.0, 4)
    assert torch.allclose(images[0], torch.full((1, 4, 4), -2.0))
    assert torch.equal(images[1], torch.zeros(1, 4, 4))


def test_samples_are_kept_in_32_bits_where_the_network_speaks_in_16():
    scheduler = samplers.make(None, "flow", "linear")
    start, labels = torch.randn(1, 1, 4, 4), torch.zeros(1, dtype=torch.long)
    images = denoise(lambda noisy, *_: torch.full_like(noisy, 1 / 3).bfloat16(), scheduler, start, labels, 0, 1.0, 50)
    assert torch.allclose(images, start - torch.tensor(1 / 3).bfloat16().float(), atol=1e-6)


def test_a_sampler_that_draws_noise_draws_each_image_from_a_stream_of_its_own():
    def images(of: list[int]) -> torch.Tensor:
        streams = [torch.Generator().manual_seed(i) for i in of]
        start = torch.stack([torch.randn(1, 4, 4, generator=stream) for stream in streams])
        scheduler = samplers.make({"name": "DDPMScheduler"}, "epsilon", "linear")
        labels = torch.zeros(len(of), dtype=torch.long)
        return denoise(lambda noisy, *_: 0.5 * noisy, scheduler, start, labels, 0, 1.0, 8, streams)

    assert torch.equal(images([1, 2, 3])[1:], images([2, 3]))


@pytest.mark.parametrize(
    ("sampler", "prediction", "said"),
    [
        ({"name": "DDIMScheduler"}, "flow", "which cannot sample where model.prediction is flow. Take FlowMatch"),
        ({"name": "FlowMatchEulerDiscreteScheduler"}, "v", "cannot sample where model.prediction is v. Take DDIM"),
        ({"name": "DDIMSheduler"}, "epsilon", "did you mean DDIMScheduler?"),
        ({"name": "UNet2DModel"}, "epsilon", "is no SchedulerMixin of diffusers"),
        ({"name": "DDIMScheduler", "clip_samples": True}, "epsilon", "did you mean clip_sample?"),
        ({"name": "DDIMScheduler", "prediction_type": "sample"}, "v", "follows from model.prediction"),
        ({"name": "os.path"}, "v", "Name a class of diffusers"),
    ],
)
def test_a_sampler_that_does_not_go_with_the_training_is_refused_in_a_line(sampler: Any, prediction: Any, said: str):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        samplers.make(sampler, prediction, "linear")
