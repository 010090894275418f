"""The fast check refuses nothing that the parser itself accepts."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from test_mistakes import CONFIG

from zoo import front
from zoo.cli import main as parser
from zoo.settings import layers, schema
from zoo.settings.problems import MISSING

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
OVERLAYS = sorted((ROOT / "configs" / "overlays").glob("*.yaml"))
README = re.findall(r"uv run zoo ((?:fit|test|validate|predict) .*--config.*)", (ROOT / "README.md").read_text())
LAB = """\
import zoo


class LM(zoo.CausalLM):
    def __init__(self, {}**kwargs):
        {}super().__init__({}**kwargs)
"""
ODD = {
    "a count in quotes": "--config quoted.yaml",
    "a rate without a point": "--model.optimizer.lr 1e-3",
    "an old octal number": "--model.max_length 010",
    "yes": "--model.compile yes",
    "null for a count": "--model.max_length null",
    "a number for text": "--data.subset 2016",
    "a list in text": "--trainer.devices '[0]'",
    "a mapping in text": "--model.sampling '{top_k: 3}'",
    "a section in text": "--trainer '{max_epochs: 3}'",
    "init_args in a flag": "--model.init_args.max_length 8",
    "a short flag": "--trainer.max_ep 3",
    "a class by its own name": "--model CausalLM",
    "a class by its home": "--model zoo.tasks.causal_lm.CausalLM",
    "another optimizer": "--model.optimizer SGD --model.optimizer.lr 0.1",
    "an optimizer's mapping": "--model.optimizer '{class_path: torch.optim.SGD, init_args: {lr: 0.1, nesterov: true}}'",
    "a callback": "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/loss",
    "a callback more": "--trainer.callbacks+ zoo.EMA --trainer.callbacks.decay 0.9",
    "callbacks in text": "--trainer.callbacks '[{class_path: zoo.EMA, init_args: {decay: 0.9}}]'",
    "further keywords": "--model.dict_kwargs.foo 1",
    "an architecture": "--model.pretrained null --model.tokenizer gpt2 --model.architecture.model_type gpt2",
    "seed of yes": "--seed_everything true",
    "no logger": "--trainer.logger false",
    "a logger": "--trainer.logger CSVLogger --trainer.logger.save_dir logs",
    "a time": "--trainer.max_time 00:01:00:00",
    "a time as a mapping": "--trainer.max_time '{minutes: 3}'",
    "half of the batches": "--trainer.limit_val_batches 0.5",
    "an interval": "--trainer.val_check_interval 0.25",
    "a strategy": "--trainer.strategy ddp",
    "a profiler": "--trainer.profiler simple",
    "plugins": "--trainer.plugins '[x]'",
    "checkpoints": "--checkpoint.every_n_minutes null --checkpoint.keep 3",
    "flattened": "--config flat.yaml",
    "anchors": "--config anchor.yaml",
    "merge keys": "--config merge.yaml",
    "a byte order mark": "--config bom.yaml",
    "two overlays that append": "--config append.yaml --config append.yaml",
    "a section from a file": "--trainer trainer.yaml",
    "an optimizer from a file": "--model.optimizer optimizer.yaml",
    "a class of one's own": "--model my_lab.LM --model.gamma 3 --model.max_length 8",
    "a class that pops a keyword": "--model my_pop.LM --model.gamma 3",
    "a class that sets a base's argument": "--model my_fixed.LM",
    "a class behind an import": "--model my_import.LM --model.gamma 3",
    "a class from a function": "--model my_made.LM",
    "a shorthand": "--prompt Once",
}
FILES = {
    "quoted.yaml": "model: {max_length: '8', compile: 'no'}\ndata: {batch_size: 0x10}\n",
    "flat.yaml": "model: {max_length: 8, optimizer: {lr: 0.1}}\n",
    "anchor.yaml": "model: {init_args: {max_length: &size 8, stride: *size}}\n",
    "merge.yaml": "data: {init_args: {<<: {batch_size: 3}, eval_batch_size: 4}}\n",
    "bom.yaml": "\ufeffdata: {init_args: {batch_size: 3}}\n",
    "append.yaml": "trainer: {callbacks+: {class_path: zoo.EMA}}\n",
    "trainer.yaml": "max_epochs: 4\n",
    "optimizer.yaml": "class_path: torch.optim.SGD\ninit_args: {lr: 0.1}\n",
    "my_lab.py": LAB.format("gamma: float = 2.0, ", "", ""),
    "my_pop.py": LAB.format("", "self.gamma = kwargs.pop('gamma', 2.0)\n        ", ""),
    "my_fixed.py": LAB.format("pretrained: str | None = None, ", "", "pretrained='gpt2', "),
    "my_import.py": "from my_lab import LM\n",
    "my_made.py": "import zoo\nLM = type('LM', (zoo.CausalLM,), {'__module__': __name__})\n",
    "c.yaml": CONFIG,
}


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (here / name).write_text(content)
    monkeypatch.syspath_prepend(here)
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]  # of another test's folder
    return here


def found(argv: list[str]) -> list[str]:
    problems, _ = layers.check(schema.load(), argv[0], argv[1:])
    return [problem.line for problem in problems if problem.code != MISSING]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_has_no_problem(config: Path):
    assert found(["fit", "--config", str(config)]) == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda path: path.stem)
def test_a_shipped_overlay_has_no_problem(config: Path, overlay: Path):
    if overlay.stem != "wikitext2_protocol" or "gpt2" in config.stem:
        assert found(["fit", "--config", str(config), "--config", str(overlay)]) == []


@pytest.mark.parametrize("command", README)
def test_a_command_of_the_readme_has_no_problem(command: str, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    argv = shlex.split(command, comments=True)
    (here / "my_lab.py").write_text(LAB.format("gamma: float = 2.0, ", "", "").replace("LM(", "FocalLM("))
    monkeypatch.syspath_prepend(here)
    request = front.Request.parse(argv)
    assert found([request.command, *request.flags]) == []


@pytest.mark.filterwarnings("ignore")  # that a short flag will not be taken for ever
@pytest.mark.parametrize("flags", ODD.values(), ids=ODD.keys())
def test_what_the_parser_accepts_has_no_problem(flags: str, folder: Path, capsys: Any):
    argv = ["fit", "--config", "c.yaml", *shlex.split(flags)]
    with pytest.raises(SystemExit) as accepted:
        parser([*argv, "--print_config"])
    assert accepted.value.code == 0
    request = front.Request.parse(argv)
    assert found([request.command, *request.flags]) == []


def test_a_schema_for_other_versions_leaves_their_classes_alone(folder: Path):
    other = schema.Schema(schema.load().content, exact=False)
    flags = ["--config", "c.yaml", "--model.optimizer.brand_new", "1", "--trainer.brand_new", "2"]
    assert layers.check(other, "fit", flags)[0][0].line.startswith("data.train")


def test_a_schema_for_other_versions_still_knows_our_own(folder: Path):
    other = schema.Schema(schema.load().content, exact=False)
    problems, _ = layers.check(other, "fit", ["--config", "c.yaml", "--data.batch_sise", "1"])
    assert [problem.line for problem in problems] == ["unknown flag --data.batch_sise; did you mean --data.batch_size?"]
