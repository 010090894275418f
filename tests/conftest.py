"""What tests share: no network, caches of their own, and a tiny GPT-2 in a folder."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import caches  # first of all, as libraries read their environment when they are imported

import pytest
import torch
from contract_cases import CASES, Case

from zoo.command import silenced_warnings

torch.set_num_threads(1)  # tests run side by side

PROCESS_BYTES = 3 * 2**30
"""What a process of tests may need, with those that it starts itself."""
TEXT = "\n".join(f"The {i}th fox jumps over {i * i} lazy dogs, and then sleeps for {i + 3} days." for i in range(400))


def pytest_configure(config: pytest.Config) -> None:
    for message in silenced_warnings.WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All cores for the whole suite, as far as there is memory; what is picked runs here, without a second import."""
    if config.args != config.getini("testpaths") or os.environ["CUDA_VISIBLE_DEVICES"]:
        return 0  # on a GPU, one test at a time
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // PROCESS_BYTES))


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of every later collection: recovery and probe collect after each failure."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    shutil.rmtree(caches.FOLDER, ignore_errors=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "fox.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def few_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 lines: a few batches for training and for validation, too."""
    path = tmp_path_factory.mktemp("lines") / "fox.txt"
    path.write_text("".join(TEXT.splitlines(keepends=True)[:60]))
    return path


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest, tiny_gpt2: Path, few_lines: Path) -> Case:
    """Each task with its data in turn."""
    return CASES[request.param](tiny_gpt2, few_lines)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of two layers of 16 with random weights and a tokenizer of 300 tokens, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    save_tiny(folder, {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 64})
    return folder


def save_tiny(folder: Path, architecture: dict[str, Any], chat_template: str | None = None) -> None:
    from zoo.models import pretrained as hf

    tokenizer = hf.train_tokenizer([TEXT], 300)
    end = tokenizer.eos_token_id
    config = hf.make_config({**architecture, "vocab_size": 300, "bos_token_id": end, "eos_token_id": end})
    torch.manual_seed(0)
    hf.build_causal_lm(config).save_pretrained(folder)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The CPU, and then the GPU where tests may see it (see tests/loop/test_devices.py)."""
    device = torch.device(request.param)
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU that the tests may use: CUDA_VISIBLE_DEVICES=0 uv run pytest -m gpu")
    yield device
    torch.use_deterministic_algorithms(False)
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.fixture
def zoo_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: (exit code, what it printed, what it complained)."""
    from zoo.__main__ import main

    def run(*argv: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in argv])
        except SystemExit as exit:  # --help and --print_config
            code = int(exit.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
