"""NVIDIA GPUs, their driver and torch's build, found without importing torch."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FIELDS = "name,driver_version,memory.total,memory.free,compute_cap"
_DRIVERS = {11: 450, 12: 525, 13: 580}
"""Oldest Linux driver for each CUDA. Source: NVIDIA, CUDA compatibility, table 2 (minor version compatibility)."""
_NVIDIA, _DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class Torch:
    """The installed torch.

    Args:
        cuda: that it was built for, as (13, 0); None for a CPU build.
        rocm: whether it is AMD's build.
    """

    version: str
    cuda: tuple[int, int] | None
    rocm: bool = False

    def __str__(self) -> str:
        other = "ROCm build" if self.rocm else "CPU build"
        build = f"built for CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda else other
        return f"{self.version}, {build}"


@dataclass(frozen=True)
class Gpu:
    """As nvidia-smi has it; memory in MiB."""

    name: str
    driver: str
    total: float
    free: float
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, VRAM {self.free / 1024:.1f} GiB free of {self.total / 1024:.1f}"


def torch() -> Torch | None:
    """What the installed torch says of itself, read from its version.py; None where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return None
    values = dict(re.findall(r"^(\w+)(?:: [^=]+)? = '([^']*)'", text, re.MULTILINE))
    cuda = re.match(r"(\d+)\.(\d+)", values.get("cuda", ""))
    return Torch(values.get("__version__", "?"), (int(cuda[1]), int(cuda[2])) if cuda else None, "hip" in values)


def listed() -> list[Gpu]:
    found = []
    for line in _smi(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits").splitlines():
        name, driver, total, free, capability = ([part.strip() for part in line.split(",")] + [""] * 5)[:5]
        numbers = re.match(r"(\d+)\.(\d+)", capability)
        found.append(
            Gpu(name, driver, _number(total), _number(free), (int(numbers[1]), int(numbers[2])) if numbers else (0, 0))
        )
    return found


def driver(gpus: list[Gpu]) -> str:
    if gpus:
        cuda = driver_cuda()
        return f"{gpus[0].driver}, for CUDA up to {cuda[0]}.{cuda[1]}" if cuda else gpus[0].driver
    if (said := _smi_error()) is not None:
        return f"nvidia-smi is there, and fails: {said}"
    if sys.platform == "darwin":
        return "macOS: trainer.accelerator mps"
    return "none, although there is an NVIDIA GPU" if on_the_bus() else "none"


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver knows, from the head of nvidia-smi's table."""
    found = re.search(r"CUDA(?: UMD)? Version:\s*(\d+)\.(\d+)", _smi())
    return (int(found[1]), int(found[2])) if found else None


def holders() -> str:
    """Which processes hold VRAM."""
    text = _smi("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits")
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.count(",") >= 2]
    held = [f"{Path(row[1]).name} (PID {row[0]}) {_number(row[2]) / 1024:.1f} GiB" for row in rows]
    return f"held by {', '.join(held[:4])}" if held else "held by nobody"


def missing(torch: Torch | None, gpus: list[Gpu]) -> Iterator[str]:
    """What keeps this machine from training on its GPU, each with what to do."""
    if torch is None:
        yield "torch; uv sync"
        return
    if (hidden := os.environ.get("CUDA_VISIBLE_DEVICES")) in ("", "-1") and gpus:
        yield f"the GPU is hidden by CUDA_VISIBLE_DEVICES={hidden!r}; unset CUDA_VISIBLE_DEVICES"
    if not gpus:
        if (said := _smi_error()) is not None:
            yield f"nvidia-smi fails ({said}); reboot, or install the driver anew: {_install(torch)}"
        elif on_the_bus():
            yield f"a driver for the NVIDIA GPU; {_install(torch)}"
        return
    if torch.cuda is None and not torch.rocm:
        yield f"torch {torch.version} is a CPU build and leaves the GPU alone; uv sync --reinstall-package torch"
        return
    known = driver_cuda()
    if torch.cuda and known and known[0] < torch.cuda[0]:
        needed = f"needs {_DRIVERS.get(torch.cuda[0], '')} or newer"
        yield f"the driver {gpus[0].driver} is too old for CUDA {torch.cuda[0]} ({needed}); {_install(torch)}"
    for one in gpus:
        if one.total and one.free < 0.5 * one.total:
            yield f"{one.name} has less than half of its VRAM free; end what holds it (see VRAM above)"


def _install(torch: Torch) -> str:
    if "microsoft" in platform.uname().release.lower():
        return "install NVIDIA's newest driver on Windows (WSL2 has none of its own)"
    return f"sudo apt install nvidia-driver-{_DRIVERS.get(torch.cuda[0], 580) if torch.cuda else 580}, and reboot"


def on_the_bus() -> bool:
    """Whether a GPU of NVIDIA is plugged in, driver or not."""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False


def _smi(*arguments: str) -> str:
    answer = _asked(*arguments)
    return answer.stdout if answer is not None and answer.returncode == 0 else ""


def _smi_error() -> str | None:
    """What nvidia-smi says where it fails; None where it works or is not there."""
    answer = _asked()
    if answer is None or answer.returncode == 0:
        return None
    return ((answer.stderr or answer.stdout).strip().splitlines() or [f"exit code {answer.returncode}"])[0]


def _asked(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    if not (smi := shutil.which("nvidia-smi")):
        return None
    try:
        return subprocess.run([smi, *arguments], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _number(text: str) -> float:
    found = re.match(r"[\d.]+", text)
    return float(found[0]) if found else 0.0
