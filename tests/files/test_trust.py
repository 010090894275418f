"""A config from a stranger runs no code: what it may name is checked before anything is called."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import zoo
from zoo.errors import ConfigError
from zoo.files import trust
from zoo.runs import run

OWN = """\
import os
from collections.abc import Callable
from functools import partial
import torch, zoo
from torch import nn

def halved(params, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=lr / 2)

def numbers():
    raise RuntimeError("called")

class Plain:
    pass

class Mine(torch.optim.SGD):
    pass

class Hooked(zoo.CausalLM):
    def __init__(self, hook: Callable | None = None, **kwargs):
        super().__init__(**kwargs)
        if hook:
            hook("touch ran")

shell = partial(os.system, "touch ran")
system = os.system
"""
RUNS_CODE = [
    ("os.system", {"command": "touch ran"}),
    ("posix.system", {"command": "touch ran"}),
    ("subprocess.run", {"args": "touch ran", "shell": True}),
    ("subprocess.Popen", {"args": "touch ran", "shell": True}),
    ("builtins.exec", {}),
    ("pathlib.Path.touch", {}),
    ("my_own.os.system", {"command": "touch ran"}),
    ("my_own.system", {"command": "touch ran"}),
    ("my_own.shell", {}),
    ("torch.hub.load", {"repo_or_dir": ".", "source": "local"}),
    ("torch.utils.cpp_extension.os.system", {"command": "touch ran"}),
    ("zoo.files.paths.write_text", {"path": "ran", "text": ""}),
    ("zoo.command.lightning_cli.os.system", {"command": "touch ran"}),
    ("zoo.runs.lock.Lock", {"folder": "."}),
    ("numpy.load", {"file": "ran"}),
]
ALLOWED = [
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.StepLR",
    "torch.nn.Linear",
    "zoo.CausalLM",
    "zoo.TextData",
    "zoo.EMA",
    "zoo.tokens.sampling.Sampling",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.profilers.SimpleProfiler",
    "lightning.pytorch.strategies.DDPStrategy",
    "lightning.pytorch.accelerators.CPUAccelerator",
    "lightning.pytorch.plugins.MixedPrecision",
    "lightning.pytorch.plugins.io.TorchCheckpointIO",
    "lightning.pytorch.plugins.environments.SLURMEnvironment",
    "lightning.pytorch.LightningDataModule",
    "my_own.halved",
    "my_own.Plain",
    "my_own.Mine",
]


@pytest.fixture
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a Python file of the user's."""
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "my_own", raising=False)
    (here / "my_own.py").write_text(OWN)
    return here


@pytest.mark.parametrize("path", ALLOWED)
def test_what_a_run_is_made_of_may_be_named_and_what_is_the_users_own(own: Path, path: str):
    trust.check({"trainer": {"callbacks": [{"class_path": path, "init_args": {}}]}})
    module, _, name = path.rpartition(".")
    trust.check({"trainer": {"profiler": getattr(importlib.import_module(module), name)}})


@pytest.mark.parametrize(("path", "_"), RUNS_CODE)
def test_other_code_may_not_wherever_it_stands(own: Path, path: str, _: Any):
    for config in (
        {"model": {"class_path": "zoo.CausalLM", "init_args": {"optimizer": {"class_path": path}}}},
        {"model": {"init_args": {"architecture": {"deep": [{"er": {"class_path": path}}]}}}},
    ):
        with pytest.raises(ConfigError, match=r"model\.(optimizer|architecture\.deep\[0\]\.er) is "):
            trust.check(config)


def test_what_the_parser_made_of_a_name_is_looked_at_too(own: Path):
    with pytest.raises(ConfigError, match=r"on_fit_start is \w+\.system, a function of Python's standard library"):
        trust.check({"trainer": {"callbacks": [{"init_args": {"on_fit_start": os.system}}]}})


def test_a_module_that_is_not_allowed_is_not_even_imported(here: Path):
    before = {*sys.modules}
    with pytest.raises(ConfigError, match="antigravity"):
        trust.check({"model": {"class_path": "antigravity.Browser"}})
    assert "antigravity" not in {*sys.modules} - before


def test_a_package_installed_below_the_working_directory_is_not_the_users_own(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (installed := here / ".venv/lib/site-packages").mkdir(parents=True)
    (installed / "bought.py").write_text(OWN)
    monkeypatch.syspath_prepend(installed)
    with pytest.raises(ConfigError, match="a function of the package bought"):
        trust.check({"class_path": "bought.halved"})
    trust.check({"class_path": "bought.Mine"})


@pytest.mark.parametrize(("path", "arguments"), RUNS_CODE)
def test_no_command_calls_it(
    own: Path, zoo_command: Callable[..., Any], config: dict[str, Any], path: str, arguments: Any
):
    config["model"]["init_args"]["optimizer"] = {"class_path": path, "init_args": arguments}
    Path("c.yaml").write_text(yaml.safe_dump(config))
    for command in ("fit", "test", "validate", "predict"):
        code, said, complaint = zoo_command(command, "--config=c.yaml")
        assert code == 2, said
        assert len(complaint.splitlines()) == 1, complaint
        assert "model.optimizer" in complaint
    assert not [*own.glob("ran")]
    assert not Path("runs").exists()


def test_neither_does_a_callback_that_is_given_it(own: Path, zoo_command: Callable[..., Any], config: dict[str, Any]):
    callback = {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"on_fit_start": "os.system"}}
    config["trainer"]["callbacks"] = [callback]
    Path("c.yaml").write_text(yaml.safe_dump(config))
    code, _, complaint = zoo_command("fit", "--config=c.yaml")
    assert (code, "on_fit_start is" in complaint) == (2, True), complaint


def test_neither_does_a_run_that_is_loaded(own: Path, zoo_command: Callable[..., Any], config: dict[str, Any]):
    Path("c.yaml").write_text(yaml.safe_dump(config))
    assert zoo_command("fit", "--config=c.yaml")[0] == 0
    path = run.find() / "config.yaml"
    trained = yaml.safe_load(path.read_text())
    trained["model"]["init_args"]["optimizer"] = {"class_path": "os.system", "init_args": {"command": "touch ran"}}
    path.write_text(yaml.safe_dump(trained))
    with pytest.raises(ConfigError, match=r"model.optimizer is os.system, something of Python's standard library"):
        zoo.load()
    for command in ("test", "predict"):
        assert zoo_command(command)[0] == 2
    assert not Path("ran").exists()


def test_neither_does_a_run_that_is_loaded_and_has_a_function_for_a_value(
    own: Path, zoo_command: Callable[..., Any], config: dict[str, Any]
):
    """A text until the parser has made it a function, for a setting that takes one."""
    config["model"]["class_path"] = "my_own.Hooked"
    Path("c.yaml").write_text(yaml.safe_dump(config))
    assert zoo_command("fit", "--config=c.yaml")[0] == 0
    path = run.find() / "config.yaml"
    trained = yaml.safe_load(path.read_text())
    trained["model"]["init_args"]["hook"] = "os.system"
    path.write_text(yaml.safe_dump(trained))
    with pytest.raises(ConfigError, match=r"model.hook is \w+.system, a function of Python's standard library"):
        zoo.load()
    assert not Path("ran").exists()


def test_a_loaded_run_is_looked_at_before_a_module_is_imported(
    own: Path, zoo_command: Callable[..., Any], config: dict[str, Any]
):
    Path("c.yaml").write_text(yaml.safe_dump(config))
    assert zoo_command("fit", "--config=c.yaml")[0] == 0
    path = run.find() / "config.yaml"
    trained = yaml.safe_load(path.read_text())
    trained["model"]["init_args"]["optimizer"] = {"class_path": "antigravity.Browser"}
    path.write_text(yaml.safe_dump(trained))
    with pytest.raises(ConfigError, match="model.optimizer is "):
        zoo.load()
    assert "antigravity" not in sys.modules


def test_in_a_clone_of_zoo_its_functions_are_not_the_users_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(zoo.__file__).parent.parent)
    with pytest.raises(ConfigError, match="a function of the package zoo"):
        trust.check({"class_path": "zoo.files.paths.write_text"})


@pytest.mark.parametrize("source", ["python:os.abort", "python:antigravity", "python:sklearn.show_versions"])
@pytest.mark.parametrize("data", ["zoo.TextData", "zoo.ImageData"])
def test_neither_does_a_source_of_data(here: Path, data: str, source: str):
    module = getattr(zoo, data.rpartition(".")[2])(train=source)
    with pytest.raises(ConfigError, match="which a config may not have run"):
        module.samples("train")


@pytest.fixture
def config(tiny_gpt2: Path, text_file: Path) -> dict[str, Any]:
    optimizer = {"class_path": "my_own.Mine", "init_args": {"lr": 0.1}}
    model = {"pretrained": str(tiny_gpt2), "max_length": 16, "optimizer": optimizer}
    return {
        "model": {"class_path": "zoo.CausalLM", "init_args": model},
        "data": {"class_path": "zoo.TextData", "init_args": {"train": str(text_file)}},
        "trainer": {"max_steps": 1, "accelerator": "cpu"},
    }
