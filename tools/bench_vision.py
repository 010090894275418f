"""How fast zoo trains on images and reads them, beside timm's own train.py and a bare PyTorch loop.

    python tools/bench_vision.py --threads 2

Three tables. *Step*: batches that lie ready in memory, so that only the loops differ. *Training*: JPEG files on disk,
each side with its own loader. *Loader*: decoding and augmentation alone, in 1 and 2 worker processes. All sides have
the same network, optimizer, images, crops and number of threads; they take turns for several rounds, and a ratio is
the median of the ratios of the rounds. Each is measured in a fresh process of its own. zoo is run as its command line
runs it, with all that it watches and writes, and with what it asks of torch's and glibc's allocators; "bare, same
memory" is the bare loop with the same calls.

timm's train.py is not in its package: `timm_loop` does what that script does in a step, with timm's loader, optimizer,
schedule and clipping. The photographs are made up: noise with the spectrum of photographs, 500 × 375, JPEG quality 90.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
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
from zoo.command import memory_settings
from zoo.command.lightning_cli import main as zoo_command

_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
CLASSES, MEAN, STD = 10, (0.5,) * 3, (0.5,) * 3
WARM, TIMED = 3, 8
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18, 64 px": {"name": "resnet18", "side": 64, "channels_last": True, "settings": {}},
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
SIDES = ("zoo", "timm", "bare", "bare, same memory")
ends_of_zoo: Ends = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", help="an .npz with x_train: real small images (CIFAR-10) for the second table")
    parser.add_argument("--tables", nargs="+", default=["step", "training", "loader"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the third table")
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS], choices=[*NETWORKS], help="of the first table")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(_measured(**asked.measure)))
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "torchvision", "lightning"))
    print(f"{asked.threads} threads, {versions}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        small, photographs = _small(asked.small), _photographs()
        for name in asked.tables:
            for title, what in _rows(name, asked, small, photographs):
                _table(title, {**what, "table": name, "threads": asked.threads}, asked.rounds)


# Tables ---------------------------------------------------------------------------------------------------------


def _rows(table: str, asked: Any, small: Path, photographs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of a table: the title of each row, and what is measured there."""
    if table == "step":
        for network in asked.networks:
            yield f"step, {network}, batch {BATCH}", {"network": network}
    elif table == "training":
        title = f"training on JPEG of 32 × 32, resnet18, 64 px, batch {BATCH}, one worker"
        yield title, {"network": "resnet18, 64 px", "folder": str(small)}
    else:
        for workers in asked.workers:
            what = {"folder": str(photographs), "side_length": 224, "workers": workers, "count": 16}
            yield f"loader, photographs at 224 px, {workers} workers", what
            what = {"folder": str(small), "side_length": 64, "workers": workers, "count": 48}
            yield f"loader, JPEG of 32 × 32 at 64 px, {workers} workers", what


def _table(title: str, what: dict[str, Any], rounds: int) -> None:
    """Every side in turn, each round in another order; images a second and the medians of the ratios."""
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    for i in range(rounds):
        for side in SIDES[i % len(SIDES) :] + SIDES[: i % len(SIDES)]:
            ends = _in_a_process({**what, "side": side})
            rates[side].append(BATCH * (len(ends) - WARM) / (ends[-1] - ends[WARM - 1]))
    print(title)
    for side, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["zoo"], found, strict=True))
        print(f"  {side:17} {statistics.median(found):7.1f} images/s   zoo is {ratio:.3f} times as fast", flush=True)


def _in_a_process(what: dict[str, Any]) -> Ends:
    """A fresh one: large pages have to be asked for before the first tensor, and would help the others too."""
    environment = {name: value for name, value in os.environ.items() if name != _LARGE_PAGES}
    if what["side"] in ("zoo", "bare, same memory"):
        environment[_LARGE_PAGES] = "1"
    asked = [sys.executable, str(Path(__file__).resolve()), "--measure", json.dumps(what)]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _measured(table: str, side: str, threads: int, **what: Any) -> Ends:
    torch.set_num_threads(threads)
    if side in ("zoo", "bare, same memory"):
        memory_settings.keep_freed_memory()
    side = side.partition(",")[0]
    if table == "loader":
        make = {"zoo": zoo_loader, "timm": timm_loader, "bare": bare_loader}[side]
        return _drain(make(Path(what["folder"]), what["side_length"], what["workers"]), what["count"])
    network = NETWORKS[what["network"]]
    if table == "step":
        return {
            "zoo": lambda: zoo_loop(network, ["--data=bench_vision.Ready"]),
            "timm": lambda: timm_loop(network, PrefetchLoader(_batches(network["side"]), MEAN, STD, device=CPU)),
            "bare": lambda: bare_loop(network, ((_normalised(x), y) for x, y in _batches(network["side"]))),
        }[side]()
    folder = Path(what["folder"])
    return {
        "zoo": lambda: zoo_loop(network, ["--data=zoo.ImageData", f"--data.train={folder}", "--data.num_workers=1"]),
        "timm": lambda: timm_loop(network, timm_loader(folder, network["side"], 1)),
        "bare": lambda: bare_loop(network, bare_loader(folder, network["side"], 1)),
    }[side]()


def _batches(side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = torch.randint(0, 256, (4, BATCH, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (4, BATCH))
    return [(images[i % 4], labels[i % 4]) for i in range(WARM + TIMED)]


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
        return _Ready(loader.batch_sampler, [{"image": images, "targets": labels} for images, labels in batches])


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
