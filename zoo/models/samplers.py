"""Samplers of diffusers, told of the prediction and schedule that a network was trained with.

Whoever makes a sampler by hand can say epsilon of a network that was trained for v, and gets noise without a word.
"""

from dataclasses import dataclass
from typing import Any

from diffusers import SchedulerMixin

from zoo.constraints import NonNegativeFloat, PositiveInt, checked
from zoo.errors import ConfigError
from zoo.models import noise
from zoo.models.named import class_named, settings_of
from zoo.models.noise import Prediction, Schedule

_TYPES = {"flow": "flow_prediction", "epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
_BETAS = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
"""By diffusers' words."""
_PLAIN = ("DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler")
_OURS = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "trained_betas", "num_train_timesteps",
         "use_flow_sigmas")  # fmt: skip


@checked
@dataclass(frozen=True)
class ImageSampling:
    """How images are made of noise.

    Args:
        count: images to predict.
        label: their class. null takes each class in turn.
        steps: calls of the network. With guidance each is twice the work.
        guidance: how strongly the class is followed: 1 as the network says it, 2 to 4 more clearly and less varied.
        sampler: `{name: …}` with settings of that scheduler of diffusers. null takes Euler's method where the
            prediction is flow, and DDIM otherwise.
    """

    count: PositiveInt = 16
    label: str | None = None
    steps: PositiveInt = 30
    guidance: NonNegativeFloat = 1.0
    sampler: dict[str, Any] | None = None

    def describe(self, prediction: Prediction) -> dict[str, Any]:
        """What decides how images look, beside the weights and the seed."""
        return {"sampler": _name(self.sampler, prediction), "steps": self.steps, "guidance": self.guidance}


def _name(sampler: dict[str, Any] | None, prediction: Prediction) -> str:
    default = "FlowMatchEulerDiscreteScheduler" if prediction == "flow" else "DDIMScheduler"
    return str((sampler or {}).get("name", default))


def make(sampler: dict[str, Any] | None, prediction: Prediction, schedule: Schedule) -> Any:
    """A sampler that agrees with the training.

    Args:
        sampler: name of a class of diffusers and settings of it; None for Euler's method for a flow, else DDIM.

    Raises:
        ConfigError: no such class or setting; one that follows from the training; or a class for the other kind.
    """
    settings, name = {key: value for key, value in (sampler or {}).items() if key != "name"}, _name(sampler, prediction)
    made: Any = class_named(name, SchedulerMixin, "model.sampling.sampler")
    takes = settings_of(made, settings, "model.sampling.sampler")
    if given := [key for key in _OURS if key in settings]:
        raise ConfigError(
            f"model.sampling.sampler.{given[0]} follows from model.prediction and model.noise_schedule. Leave it out."
        )
    is_native = name.startswith("FlowMatch")
    if (prediction == "flow") != is_native and not (prediction == "flow" and "use_flow_sigmas" in takes):
        others = "FlowMatchEulerDiscreteScheduler or DPMSolverMultistepScheduler" if prediction == "flow" else (
            "DDIMScheduler, DDPMScheduler or DPMSolverMultistepScheduler")  # fmt: skip
        raise ConfigError(
            f"model.sampling.sampler.name is {name}, which cannot sample where model.prediction is {prediction}. "
            f"Take {others}."
        )
    first, last = noise.BETAS.get(schedule, (1e-4, 0.02))
    known = {"num_train_timesteps": noise.STEPS, "prediction_type": _TYPES[prediction], "timestep_spacing": "trailing"}
    if prediction == "flow":
        known |= {"use_flow_sigmas": True}
    else:
        known |= {"beta_schedule": _BETAS[schedule], "beta_start": first, "beta_end": last}
    return made(**{key: value for key, value in known.items() if key in takes}, **settings)


def is_plain(scheduler: Any) -> bool:
    """Whether diffusers' DDPMPipeline can use it, which scales neither the first noise nor what the network sees."""
    return type(scheduler).__name__ in _PLAIN
