"""How fast zoo trains on images and reads them, beside timm's own train.py and a bare PyTorch loop.

    python tools/bench_vision.py --threads 2

Three tables. *Step*: batches that lie ready in memory, so that only the loops differ. *Training*: JPEG files on disk,
each side with its own loader. *Loader*: decoding and augmentation alone, in 1 and 2 worker processes. All sides have
the same network, optimizer, images, crops and number of threads; they take turns for several rounds, and a ratio is
the median of the ratios of the rounds. Each is measured in a process of its own. zoo is run as its command line runs
it, with all that it watches and writes.

timm's train.py is not in its package: `timm_loop` does what that script does in a step, with timm's loader, optimizer,
schedule and clipping. The photographs are made up: noise with the spectrum of photographs, 500 × 375, JPEG quality 90.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

import numpy as np
import timm
import torch
from lightning.pytorch import Callback
from PIL import Image
from timm.data import create_dataset, create_loader
from timm.data.loader import PrefetchLoader
from timm.models import model_parameters
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter, dispatch_clip_grad
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import zoo
from zoo.__main__ import _take_large_pages
from zoo.command.lightning_cli import main as zoo_command

CLASSES, MEAN, STD = 10, (0.5,) * 3, (0.5,) * 3
WARM, TIMED = 3, 8
RESNET: dict[str, Any] = {"name": "resnet18", "side": 64, "channels_last": True, "settings": {}}
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18, 64 px": RESNET,
    "vit of 6 × 192, 64 px": {
        "name": "vit_tiny_patch16_224",
        "side": 64,
        "channels_last": False,
        "settings": {"img_size": 64, "patch_size": 8, "depth": 6},
    },
}
BATCH = 64
Ends = list[float]
"""When each step of a loop was done."""
threads = [1]
workers_of_loaders = [1, 2]
ends_of_zoo: Ends = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", help="an .npz with x_train: real small images (CIFAR-10) for the second table")
    parser.add_argument("--tables", nargs="+", default=["step", "training", "loader"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the third table")
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS], choices=[*NETWORKS], help="of the first table")
    asked = parser.parse_args()
    for title in {*NETWORKS} - {*asked.networks}:
        del NETWORKS[title]
    threads[0], workers_of_loaders[:] = asked.threads, asked.workers
    print(f"{asked.threads} threads, torch {torch.__version__}, timm {timm.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        small, photographs = _small(asked.small), _photographs()
        for name in asked.tables:
            {"step": steps, "training": trainings, "loader": loaders}[name](asked.rounds, small, photographs)


# Tables ---------------------------------------------------------------------------------------------------------


def steps(rounds: int, small: Path, photographs: Path) -> None:
    for title, network in NETWORKS.items():
        sides = {
            "zoo": lambda n=network: zoo_loop(n, ["--data=bench_vision.Ready"]),
            "timm": lambda n=network: timm_loop(n, PrefetchLoader(_batches(n["side"]), MEAN, STD, device=CPU)),
            "bare": lambda n=network: bare_loop(n, ((_normalised(x), y) for x, y in _batches(n["side"]))),
        }
        _table(f"step, {title}, batch {BATCH}", sides, rounds)


def _batches(side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = torch.randint(0, 256, (4, BATCH, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (4, BATCH))
    return [(images[i % 4], labels[i % 4]) for i in range(WARM + TIMED)]


def trainings(rounds: int, small: Path, photographs: Path) -> None:
    network = RESNET
    flags = ["--data=zoo.ImageData", f"--data.train={small}", "--data.num_workers=1"]
    sides = {
        "zoo": lambda: zoo_loop(network, flags),
        "timm": lambda: timm_loop(network, timm_loader(small, network["side"], 1)),
        "bare": lambda: bare_loop(network, bare_loader(small, network["side"], 1)),
    }
    _table(f"training on JPEG of 32 × 32, resnet18, 64 px, batch {BATCH}, one worker", sides, rounds)


def loaders(rounds: int, small: Path, photographs: Path) -> None:
    kinds = (("photographs at 224 px", photographs, 224, 16), ("JPEG of 32 × 32 at 64 px", small, 64, 48))
    for title, folder, side, count in kinds:
        for workers in workers_of_loaders:
            sides = {
                "zoo": lambda f=folder, s=side, w=workers, n=count: _drain(zoo_loader(f, s, w), n),
                "timm": lambda f=folder, s=side, w=workers, n=count: _drain(timm_loader(f, s, w), n),
                "bare": lambda f=folder, s=side, w=workers, n=count: _drain(bare_loader(f, s, w), n),
            }
            _table(f"loader, {title}, {workers} workers", sides, rounds)


def _table(title: str, sides: dict[str, Callable[[], Ends]], rounds: int) -> None:
    """Every side in turn, each round in another order; images a second and the medians of the ratios."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        names = list(sides)[i % len(sides) :] + list(sides)[: i % len(sides)]
        for name in names:
            ends = _in_a_child(sides[name])
            rates[name].append(BATCH * (len(ends) - WARM) / (ends[-1] - ends[WARM - 1]))
    print(title)
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["zoo"], found, strict=True))
        print(f"  {name:5} {statistics.median(found):7.1f} images/s   zoo is {ratio:.3f} times as fast", flush=True)


def _in_a_child(measure: Callable[[], Ends]) -> Ends:
    """In a process of its own: what zoo asks torch for would help the others too."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            torch.set_num_threads(threads[0])
            os.write(writing, json.dumps(measure()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    return json.loads(said)


def _drain(loader: Iterable[Any], count: int) -> Ends:
    """Take so many batches as fast as they come, after a few that wait for the workers to start."""
    return [time.perf_counter() for _, _ in zip(range(WARM + count), loader, strict=False)]


# zoo ------------------------------------------------------------------------------------------------------------


class Ready(zoo.ImageData):
    """Batches that lie in memory; the digits only say how many classes there are."""

    def __init__(self, **kwargs: Any):
        super().__init__(train="python:sklearn.datasets.load_digits", **kwargs)

    def train_dataloader(self) -> Any:
        loader = super().train_dataloader()
        batches = _batches(self.task.preprocessing.size)
        return _Ready(loader.batch_sampler, [{"image": images, "label": labels} for images, labels in batches])


class _Ready:
    def __init__(self, batch_sampler: Any, batches: list[dict[str, torch.Tensor]]):
        self.batch_sampler, self.batches = batch_sampler, batches

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class Stopwatch(Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        ends_of_zoo.append(time.perf_counter())


def zoo_loop(network: dict[str, Any], data: list[str]) -> Ends:
    settings = {"name": network["name"], **{k: v for k, v in network["settings"].items() if k != "img_size"}}
    flags = [
        *("fit", "--name=bench", "--model=zoo.ImageClassification", f"--model.architecture={settings}"),
        *(f"--model.image_size={network['side']}", f"--model.channels_last={network['channels_last']}"),
        *("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.01", "--model.optimizer.momentum=0.9"),
        *("--model.schedule=cosine", *data, f"--data.batch_size={BATCH}"),
        *("--trainer.callbacks+=bench_vision.Stopwatch", f"--trainer.max_steps={WARM + TIMED}"),
        *("--trainer.limit_val_batches=0", "--trainer.accelerator=cpu", "--trainer.precision=32-true"),
    ]
    _take_large_pages()
    ends_of_zoo.clear()
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        code = zoo_command(flags)
    if code:
        sys.exit(said.getvalue())
    return list(ends_of_zoo)


def zoo_loader(folder: Path, side: int, workers: int) -> Iterable[Any]:
    task = zoo.ImageClassification(
        architecture={"name": "resnet18", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]},
        image_size=side,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
    )
    data = zoo.ImageData(train=str(folder), batch_size=BATCH, num_workers=workers)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = zoo.Trainer(accelerator="cpu", max_steps=0, enable_checkpointing=False, limit_val_batches=0, **quiet)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.fit(task, datamodule=data)
    return data.train_dataloader()


# timm -----------------------------------------------------------------------------------------------------------

CPU = torch.device("cpu")


def timm_loader(folder: Path, side: int, workers: int) -> Iterable[Any]:
    dataset = create_dataset("", root=str(folder), split="train", is_training=True, batch_size=BATCH)
    return create_loader(
        dataset,
        input_size=(3, side, side),
        batch_size=BATCH,
        is_training=True,
        color_jitter=0.0,
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        device=CPU,
    )


def timm_loop(network: dict[str, Any], loader: Iterable[Any]) -> Ends:
    """What train.py does in an epoch, on one device, without mixed precision."""
    model = _model(network)
    optimizer = create_optimizer_v2(model, opt="momentum", lr=0.01, weight_decay=0.0, momentum=0.9)
    scheduler = CosineLRScheduler(optimizer, t_initial=WARM + TIMED, t_in_epochs=False)
    data_time, step_time, losses = AverageMeter(), AverageMeter(), AverageMeter()
    ends = []
    started = time.time()
    for step, (images, labels) in zip(range(WARM + TIMED), loader, strict=False):
        data_time.update(time.time() - started)
        if network["channels_last"]:
            images = images.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(images), labels)
        loss.backward(create_graph=False)
        dispatch_clip_grad(model_parameters(model, exclude_head=False), value=1.0, mode="norm")
        optimizer.step()
        optimizer.zero_grad()
        step_time.update(time.time() - started)
        losses.update(loss.item(), len(labels))
        scheduler.step_update(num_updates=step + 1, metric=losses.avg)
        started = time.time()
        ends.append(time.perf_counter())
    return ends


# Bare PyTorch ---------------------------------------------------------------------------------------------------


def bare_loader(folder: Path, side: int, workers: int) -> Iterable[Any]:
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(side, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return DataLoader(ImageFolder(folder, transform), BATCH, shuffle=True, num_workers=workers, drop_last=True)


def bare_loop(network: dict[str, Any], loader: Iterable[Any]) -> Ends:
    model = _model(network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    ends = []
    for _, (images, labels) in zip(range(WARM + TIMED), loader, strict=False):
        if network["channels_last"]:
            images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ends.append(time.perf_counter())
    return ends


def _model(network: dict[str, Any]) -> nn.Module:
    model = timm.create_model(network["name"], num_classes=CLASSES, **network["settings"]).train()
    return model.to(memory_format=torch.channels_last) if network["channels_last"] else model


def _normalised(images: torch.Tensor) -> torch.Tensor:
    return (images / 255 - 0.5) / 0.5


# Images -------------------------------------------------------------------------------------------------------


def _small(source: str | None) -> Path:
    """JPEG files of 32 × 32 in ten folders: real ones of an .npz, or noise."""
    count = 60 * BATCH  # a loader reads ahead
    generator = np.random.default_rng(0)
    known = np.load(source)["x_train"] if source else generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return _save("small", (Image.fromarray(pixels) for pixels in known[:count]), 95)


def _photographs() -> Path:
    count = 28 * BATCH
    generator = np.random.default_rng(0)
    few = [_photograph(generator) for _ in range(16)]
    return _save("photographs", (few[i % len(few)] for i in range(count)), 90)


def _photograph(generator: np.random.Generator, size: tuple[int, int] = (500, 375)) -> Image.Image:
    """Noise of every scale, each half as strong as the next coarser one, as neighbours in photographs differ."""
    total = np.zeros((size[1], size[0], 3), np.float32)
    for octave in range(8):
        small = generator.normal(0, 64 / 2**octave, (3 * 2**octave, 4 * 2**octave, 3)) + 128
        layer = Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) - 128
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def _save(name: str, pictures: Iterable[Image.Image], quality: int) -> Path:
    folder = Path(name).absolute()
    for i in range(CLASSES):
        (folder / str(i)).mkdir(parents=True)
    for i, image in enumerate(pictures):
        image.save(folder / str(i % CLASSES) / f"{i}.jpg", quality=quality)
    return folder


if __name__ == "__main__":
    from bench_vision import main as run  # so that zoo, which names this file, and this file are one module

    run()
