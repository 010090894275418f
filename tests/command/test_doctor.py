"""zoo doctor on machines that are made up: what nvidia-smi says is written by the test."""

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo.command import doctor, gpu

HEAD = "| NVIDIA-SMI {driver}    Driver Version: {driver}    CUDA Version: {cuda}     |"
RTX = "NVIDIA GeForce RTX 3060, {driver}, 12288, 11800, 8.6"
OLD = "NVIDIA GeForce GTX 1080, {driver}, 8192, 8000, 6.1"


@pytest.fixture
def machine(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Sets up a GPU, a driver and a torch, and returns what the doctor prints."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor.hub, "offline", lambda: True)
    monkeypatch.setattr(gpu, "on_the_bus", lambda: False)
    (here / "bin").mkdir()
    monkeypatch.setenv("PATH", str(here / "bin"))

    def smi(script: str) -> None:
        path = here / "bin" / "nvidia-smi"
        path.write_text(f"#!{sys.executable}\nimport sys\nasked = ' '.join(sys.argv[1:])\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(gpus: str = "", driver: str = "590.10", cuda: str = "13.1", apps: str = "", build: Any = (13, 0)) -> str:
        if gpus:
            answers = (gpus.format(driver=driver), apps, HEAD.format(driver=driver, cuda=cuda))
            smi(f"print({answers[0]!r} if 'gpu' in asked else {answers[1]!r} if 'apps' in asked else {answers[2]!r})")
        monkeypatch.setattr(gpu, "torch", lambda: gpu.Torch("2.13.0", build))
        capsys.readouterr()
        assert doctor.main([]) == 0
        return capsys.readouterr().out

    run.smi = smi  # type: ignore[attr-defined]
    return run


def line(said: str, name: str) -> str:
    return next(text for text in said.splitlines() if text.startswith(name))


def test_a_good_machine_is_ready_in_ten_lines(machine: Any):
    said = machine(RTX)
    assert len(said.splitlines()) == 10
    assert line(said, "GPU") == "GPU       NVIDIA GeForce RTX 3060, VRAM 11.5 GiB free of 12.0"
    assert line(said, "driver") == "driver    590.10, for CUDA up to 13.1"
    assert line(said, "precision") == "precision bf16-mixed and 16-mixed"
    assert line(said, "VRAM") == "VRAM      held by nobody"
    assert line(said, "ready").endswith("zoo fit --config quickstart")


def test_without_a_gpu_it_trains_on_the_cpu(machine: Any):
    said = machine()
    assert line(said, "GPU") == "GPU       none, so training runs on the CPU"
    assert line(said, "ready")


def test_a_gpu_without_a_driver_gets_the_command_for_one(machine: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "on_the_bus", lambda: True)
    assert "sudo apt install nvidia-driver-580" in line(machine(), "missing")


def test_a_driver_too_old_is_told_from_what_torch_needs(machine: Any):
    said = machine(RTX, driver="535.54", cuda="12.2")
    assert line(said, "missing").startswith("missing   the driver 535.54 is too old for CUDA 13 (needs 580 or newer); ")


def test_a_driver_of_the_same_cuda_generation_will_do(machine: Any):
    assert line(machine(RTX, driver="535.54", cuda="12.2", build=(12, 8)), "ready")


def test_a_cpu_build_beside_a_gpu_gets_the_command_for_the_other(machine: Any):
    said = machine(RTX, build=None)
    assert line(said, "torch") == "torch     2.13.0, CPU build"
    assert line(said, "missing").endswith("uv sync --reinstall-package torch")


def test_who_holds_the_memory_is_named(machine: Any):
    said = machine(RTX.replace("11800", "3000"), apps="812, /usr/bin/python3, 8800")
    assert line(said, "VRAM") == "VRAM      held by python3 (PID 812) 8.6 GiB"
    assert "less than half of its VRAM free" in line(said, "missing")


def test_a_gpu_without_bf16_is_told(machine: Any):
    assert line(machine(OLD), "precision").startswith("precision 16-mixed. bf16 needs a newer GPU")


def test_a_hidden_gpu_is_told(machine: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "unset CUDA_VISIBLE_DEVICES" in line(machine(RTX), "missing")


def test_a_driver_that_does_not_answer_is_told(machine: Any):
    machine.smi("print('NVIDIA-SMI has failed', file=sys.stderr); sys.exit(9)")
    said = machine()
    assert line(said, "driver") == "driver    nvidia-smi is there, and fails: NVIDIA-SMI has failed"
    assert "nvidia-smi fails" in line(said, "missing")


def test_the_installed_torch_is_read_without_importing_it():
    import torch

    found = gpu.torch()
    assert found is not None
    assert (found.version, found.cuda is None) == (torch.__version__, torch.version.cuda is None)
