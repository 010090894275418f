"""A folder of images read by zoo's own walk and by `imagefolder` of datasets: time and memory.

    python tools/bench_imagefolder.py --files 20000

Each side in a process of its own with empty caches: list the folder, list it again, read every image once. zoo looks
into every header as it lists; imagefolder does not.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
os.environ["ZOO_CACHE"] = "zoo"  # in the folder that is made for this

import datasets
import numpy as np
import torch
from PIL import Image

from zoo.data import image_sources
from zoo.images import reading

SIZE = (64, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _pictures(Path("images"), count)
        print("side         list    again   read all   memory listed   memory read")
        for name, look in {"zoo": zoo_list, "imagefolder": datasets_list}.items():
            in_a_child(lambda name=name, look=look: _measure(name, look, count))


def _pictures(folder: Path, count: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, *SIZE, 3), dtype=np.uint8)
    for i in range(count):
        path = folder / str(i % 10) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[i % 64]).save(path)


def zoo_list() -> Iterable[Any]:
    found = image_sources.arrays("images")
    assert found is not None
    samples = found.splits["train"]
    assert not image_sources.check_headers(samples, "images", reading.header)
    return [sample.image for sample in samples]


def datasets_list() -> Iterable[Any]:
    found = datasets.load_dataset("imagefolder", data_dir="images", cache_dir="cache", split="train")
    pictures = found.cast_column("image", datasets.Image(decode=False))
    labels = [found.features["label"].int2str(label) for label in found["label"]]
    assert len(labels) == len(pictures)
    return (row["image"]["path"] for row in pictures)


def _measure(name: str, look: Callable[[], Iterable[Any]], count: int) -> None:
    torch.set_num_threads(1)
    before = _resident()
    started = time.perf_counter()
    look()
    first, listed = time.perf_counter() - started, _resident() - before
    started = time.perf_counter()
    pictures = look()
    again = time.perf_counter() - started
    started = time.perf_counter()
    assert sum(reading.read(picture).size == SIZE for picture in pictures) == count
    pictures_read = time.perf_counter() - started
    print(
        f"{name:11} {first:5.1f} s {again:6.1f} s {pictures_read:8.1f} s {listed / 2**20:12.0f} MiB "
        f"{(_resident() - before) / 2**20:10.0f} MiB",
        flush=True,
    )


def in_a_child(call: Callable[[], None]) -> None:
    if not (child := os.fork()):
        try:
            call()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
