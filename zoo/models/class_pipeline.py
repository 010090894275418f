"""Images from noise by diffusers' samplers, with classes and guidance. This file also goes beside exported weights.

Beside the weights it is called pipeline.py and makes a class-conditional network load in plain diffusers, which has no
pipeline for one. So it imports torch and diffusers only.

B images · C channels · S side in pixels
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class ClassPipeline(DiffusionPipeline):
    """Images of classes: `pipeline(["cat", "dog"], guidance_scale=2.0, num_inference_steps=30).images`.

    Args:
        unet: a network of diffusers that is told the noisy images, the time and the numbers of the classes.
        scheduler: any of diffusers for the prediction that the network was trained for.
        label_names: of the classes, in the order of their numbers. The number after the last one stands for no class.
    """

    def __init__(self, unet: Any, scheduler: Any, label_names: Sequence[str] = ()):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(label_names=[*label_names])

    @torch.no_grad()
    def __call__(
        self,
        labels: Sequence[str | None],
        guidance_scale: float = 1.0,
        num_inference_steps: int = 30,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> Any:
        config = self.unet.config
        names = list(self.config["label_names"])
        numbers = torch.tensor([len(names) if label is None else names.index(label) for label in labels])
        shape = (len(labels), config.in_channels, config.sample_size, config.sample_size)
        noise = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=torch.float32)

        def predict(noisy: Tensor, time: Tensor, numbers: Tensor) -> Tensor:
            told = {"class_labels": numbers} if names or "num_embeds_ada_norm" in config else {}
            said = self.unet(noisy.to(self.unet.dtype), timestep=time, **told).sample
            return said[:, : noisy.shape[1]]

        numbers = numbers.to(noise.device)
        images = denoise(
            predict, self.scheduler, noise, numbers, len(names), guidance_scale, num_inference_steps, generator
        )
        shown: Any = (images / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            shown = shown.cpu().permute(0, 2, 3, 1).float().numpy()
        return ImagePipelineOutput(images=self.numpy_to_pil(shown) if output_type == "pil" else shown)


def denoise(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    scheduler: Any,
    noise: Tensor,
    labels: Tensor,
    null_label: int,
    guidance: float,
    steps: int,
    generator: Any = None,
) -> Tensor:
    """[B, C, S, S] f32, about -1..1: what the sampler makes of noise.

    Args:
        predict: what the network says of noisy images [B, C, S, S] at a time [B] of classes [B].
        scheduler: of diffusers. Its progress is its own state, so that two loops must not share one at the same time.
        noise: [B, C, S, S] f32, standard normal.
        labels: [B] int64.
        null_label: what stands for no class.
        guidance: how far to go from what the network says without a class, past what it says with it; 1 for not past
            it, at half of the cost.
        generator: for samplers that draw noise on their way; one, or one for each image.

    Source: Ho & Salimans 2022 (guidance without a classifier).
    """
    scheduler.set_timesteps(steps, device=noise.device)
    sample = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    drawn = {"generator": generator} if "generator" in _arguments(scheduler.step) else {}
    for time in scheduler.timesteps:
        noisy = scheduler.scale_model_input(sample, time) if hasattr(scheduler, "scale_model_input") else sample
        times = time.to(noise.device).expand(len(noise))
        if guidance == 1:
            said = predict(noisy, times, labels).float()
        else:
            both = torch.cat([labels, torch.full_like(labels, null_label)])
            with_class, without = predict(torch.cat([noisy, noisy]), times.repeat(2), both).float().chunk(2)
            said = without + guidance * (with_class - without)
        # in 32 bits: a scheduler keeps its images in the precision of what the network said
        sample = scheduler.step(said, time, sample, **drawn).prev_sample
    return sample


def _arguments(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)
