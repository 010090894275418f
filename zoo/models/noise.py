"""How images turn into noise, and what a generator learns of it: shares, times, targets, weights. Pure functions.

A noisy image is `signal * image + noise_share * noise`. For flow matching the shares are 1 - t and t. For the other
predictions their squares add up to one, and signal² is the schedule's alpha_bar.

B images of a batch · K steps of a schedule
"""

import math
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["flow", "epsilon", "v", "x0"]
"""What the network says: the velocity from image to noise along a line, the noise, v, or the image."""
Schedule = Literal["linear", "scaled_linear", "cosine"]
TimeDensity = Literal["uniform", "logit_normal"]
Weighting = Literal["none", "min_snr"]

STEPS = 1000
"""K, as all published schedules have it. Networks are told the time as 0 .. K."""
BETAS: dict[str, tuple[float, float]] = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}
"""First and last beta: of DDPM, and of Stable Diffusion, whose square roots are evenly spaced."""


def alpha_bar(schedule: Schedule) -> Tensor:
    """[K] f32: the share of the image in the variance of a noisy one, falling from almost 1 to almost 0.

    Source: Ho et al. 2020 (linear), Rombach et al. 2022 (scaled_linear), Nichol & Dhariwal 2021 (cosine).
    """
    if schedule == "cosine":
        edges = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
        shares = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - shares[1:] / shares[:-1]).clamp(max=0.999)
    else:
        first, last = BETAS[schedule]
        power = 2 if schedule == "scaled_linear" else 1
        betas = torch.linspace(first ** (1 / power), last ** (1 / power), STEPS, dtype=torch.float64) ** power
    return torch.cumprod(1 - betas, 0).float()


def draw_time(density: TimeDensity, stream: torch.Generator) -> Tensor:
    """A time between 0 (image) and 1 (noise): evenly, or in the middle more often than at the ends.

    Source: Esser et al. 2024 (logit-normal with mean 0 and deviation 1).
    """
    if density == "uniform":
        return torch.rand((), generator=stream)
    return torch.randn((), generator=stream).sigmoid()


def at_time(time: Tensor, prediction: Prediction, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """The shares of image and noise at a time, and the time as the network is told it.

    Args:
        time: [B] f32, 0 .. 1.

    Returns:
        signal and noise_share, each [B, 1, 1, 1] f32; [B] f32 for flow matching, else the number of the step, int64.
    """
    if prediction == "flow":
        signal, noise_share, told = 1 - time, time, STEPS * time
    else:
        told = (STEPS * time).long().clamp(0, STEPS - 1)
        shares = alpha_bar(schedule).to(time.device)[told]
        signal, noise_share = shares.sqrt(), (1 - shares).sqrt()
    return signal.view(-1, 1, 1, 1), noise_share.view(-1, 1, 1, 1), told


def target(prediction: Prediction, image: Tensor, noise: Tensor, signal: Tensor, noise_share: Tensor) -> Tensor:
    """What the network is to say of a noisy image.

    Source: Lipman et al. 2023 (flow), Ho et al. 2020 (epsilon), Salimans & Ho 2022 (v).
    """
    if prediction == "flow":
        return noise - image
    if prediction == "epsilon":
        return noise
    return signal * noise - noise_share * image if prediction == "v" else image


def image_of(prediction: Prediction, said: Tensor, noisy: Tensor, signal: Tensor, noise_share: Tensor) -> Tensor:
    """The image that a network sees in a noisy one, by what it says of it: `target` turned round."""
    if prediction == "flow":
        return noisy - noise_share * said
    if prediction == "epsilon":
        return (noisy - noise_share * said) / signal
    return signal * noisy - noise_share * said if prediction == "v" else said


def weight(
    weighting: Weighting, prediction: Prediction, signal: Tensor, noise_share: Tensor, gamma: float = 5.0
) -> Tensor:
    """What the squared error counts at these shares; 1 everywhere without a weighting.

    min_snr weighs the error of the image by min(signal-to-noise ratio, gamma), whatever the network predicts.

    Source: Hang et al. 2023. For epsilon it is min(1, gamma / snr), which has a value where the ratio is zero.
    """
    if weighting == "none":
        return torch.ones_like(signal)
    ratio = (signal / noise_share) ** 2
    if prediction == "epsilon":
        return (gamma / ratio).clamp(max=1)
    capped = ratio.clamp(max=gamma)
    if prediction == "v":
        return capped / (ratio + 1)
    return capped * noise_share**2 if prediction == "flow" else capped
