"""zoo doctor: ten lines on whether this machine can train, and the commands that fix what is missing."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import zoo
from zoo.command import gpu
from zoo.command.gpu import Gpu, Torch
from zoo.command.settings.schema import installed
from zoo.errors import ConfigError, typed
from zoo.files import hub
from zoo.files.paths import cache_folder
from zoo.runs import run

USAGE = (
    "zoo doctor checks whether this machine can train (driver, GPU, memory, disk, hub) and how to fix what is missing."
)
_GB = 1e9
_FEW_GB = 10
"""A checkpoint of a model that 12 GB train takes up to 2 GB, and there are three of them."""


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    if argv:
        raise ConfigError(f"zoo doctor takes nothing; found {argv[0]!r}.")
    torch, found = gpu.torch(), gpu.listed()
    for name, text in _lines(torch, found):
        print(f"{name:<9} {text}")
    print("\n".join(_verdict(torch, found)))
    return 0


def _lines(torch: Torch | None, gpus: list[Gpu]) -> Iterator[tuple[str, str]]:
    lightning = installed().get("lightning", "missing")
    yield "zoo", f"{zoo.__version__}, Python {platform.python_version()}, Lightning {lightning}, {_system()}"
    yield "torch", str(torch) if torch else "missing"
    yield "driver", gpu.driver(gpus)
    yield "GPU", " · ".join(map(str, gpus)) or "none, so training runs on the CPU"
    yield "precision", _half(gpus)
    yield "VRAM", gpu.holders() if gpus else "–"
    yield "cores", f"{_cores()} of {os.cpu_count()}, RAM {_gb(_ram_free())} free of {_gb(_ram())}"
    yield (
        "disk",
        ", ".join(f"{_gb(shutil.disk_usage(_there(p)).free)} free for {p}" for p in (run.RUNS, cache_folder())),
    )
    offline = os.environ.get("HF_HUB_OFFLINE")
    out = (
        f"not asked: HF_HUB_OFFLINE={offline}"
        if offline
        else "offline, so only local folders and cached models can be used"
    )
    yield (
        "hub",
        out if hub.offline() else "online" + (", logged in" if _logged_in() else ", not logged in (gated models)"),
    )


def _verdict(torch: Torch | None, gpus: list[Gpu]) -> list[str]:
    missing = [*gpu.missing(torch, gpus)]
    if shutil.disk_usage(_there(run.RUNS)).free < _FEW_GB * _GB:
        missing.append(f"less than {_FEW_GB} GB of disk for runs; remove old ones: {typed('zoo runs')}")
    if not missing:
        return [f"ready     {typed('zoo fit --config quickstart')}"]
    return [f"missing   {line}" for line in missing]


def _system() -> str:
    release = platform.uname().release
    return "WSL2" if "microsoft" in release.lower() else f"{platform.system()} {release}"


def _half(gpus: list[Gpu]) -> str:
    if not gpus:
        return "32-true or bf16-mixed, as there is no GPU"
    able = all(one.capability >= (8, 0) for one in gpus)
    return "bf16-mixed and 16-mixed" if able else "16-mixed. bf16 needs a newer GPU (Ampere, RTX 30 …)"


def _cores() -> int:
    """That this process may use: less in a container, or under taskset."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _first("/sys/fs/cgroup/cpu.max").split()
    return min(cores, max(1, int(quota[0]) // int(quota[1]))) if len(quota) == 2 and quota[0].isdigit() else cores


def _ram() -> float:
    return min(_meminfo("MemTotal"), _limit("memory.max"))


def _ram_free() -> float:
    used = _first("/sys/fs/cgroup/memory.current")
    return min(_meminfo("MemAvailable"), _limit("memory.max") - (int(used) if used.isdigit() else 0))


def _limit(name: str) -> float:
    said = _first(f"/sys/fs/cgroup/{name}")
    return float(said) if said.isdigit() else float("inf")


def _meminfo(name: str) -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if hasattr(os, "sysconf") else 0.0


def _gb(size: float) -> str:
    return f"{size / _GB:.1f} GB"


def _there(path: Path) -> Path:
    """The path, or the nearest folder above that exists."""
    path = path.absolute()
    return path if path.exists() else _there(path.parent)


def _logged_in() -> bool:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return bool(os.environ.get("HF_TOKEN")) or (home / "token").is_file()


def _first(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
