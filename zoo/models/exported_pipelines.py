"""Exports of diffusion models: a stock pipeline of diffusers where there is one, else a pipeline file beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import ModelMixin, UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from safetensors.torch import save_file

from zoo.files.paths import write_text
from zoo.models import class_pipeline, samplers

STOCK = """```python
from diffusers import DDPMPipeline

images = DDPMPipeline.from_pretrained("{folder}")(batch_size=4, num_inference_steps={steps}).images
```
"""
CLASSES = """With the file `pipeline.py` of this folder, whose code diffusers runs only if it is told to trust it:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("{folder}", trust_remote_code=True)
images = pipeline({labels}, num_inference_steps={steps}).images
```

Without it, in plain diffusers:

```python
import torch
from diffusers import {network}, {scheduler}

network = {network}.from_pretrained("{folder}", subfolder="unet")
scheduler = {scheduler}.from_pretrained("{folder}", subfolder="scheduler")
x, y = torch.randn(4, {channels}, {size}, {size}), torch.tensor([{numbers}])
scheduler.set_timesteps({steps})
for t in scheduler.timesteps:
    with torch.no_grad():
        x = scheduler.step(network(x, timestep=t.expand(4), class_labels=y).sample, t, x).prev_sample
images = (x / 2 + 0.5).clamp(0, 1)
```

Classes by their numbers: {names}. {null} stands for no class.
"""


def save(network: Any, scheduler: Any, label_names: list[str], steps: int, folder: Path) -> None:
    """Write the network with its sampler, and a model card that says how diffusers loads them."""
    if not isinstance(network, ModelMixin):
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
        return
    if not label_names and isinstance(network, UNet2DModel) and samplers.is_plain(scheduler):
        stock: Any = DDPMPipeline  # whose own types are those of stand-ins for what is not installed
        stock(unet=network, scheduler=scheduler).save_pretrained(folder)
        write_text(folder / "README.md", STOCK.format(folder="model", steps=steps))
        return
    class_pipeline.ClassPipeline(network, scheduler, label_names).save_pretrained(folder)
    shutil.copyfile(class_pipeline.__file__, folder / "pipeline.py")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    index["_class_name"] = ["pipeline", class_pipeline.ClassPipeline.__name__]
    write_text(folder / "model_index.json", json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    print("model/ loads in diffusers with trust_remote_code=True, or without it as model/README.md says.")
    write_text(folder / "README.md", _card(network, scheduler, label_names, steps, folder))


def _card(network: Any, scheduler: Any, label_names: list[str], steps: int, folder: Path) -> str:
    numbers = [i % max(1, len(label_names)) for i in range(4)]
    return CLASSES.format(
        folder="model",
        steps=steps,
        labels=json.dumps([label_names[i] for i in numbers] if label_names else [None] * 4, ensure_ascii=False),
        network=type(network).__name__,
        scheduler=type(scheduler).__name__,
        channels=network.config.in_channels,
        size=network.config.sample_size,
        numbers=", ".join(map(str, numbers)),
        names=", ".join(f"{i} {name}" for i, name in enumerate(label_names)) or "none",
        null=len(label_names),
    )
