"""Configs and flags are merged as LightningCLI merges them, and what it accepts has no problem."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_text import CONFIG

from zoo.command.invocation import Request
from zoo.command.lightning_cli import ZooCLI
from zoo.command.settings import merging, schema
from zoo.command.settings.problems import MISSING
from zoo.runs.signals import Signals

ROOT = Path(__file__).parent.parent.parent.parent
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
    "a number for text": "--data.subset 2016",
    "a list in text": "--trainer.devices '[0]'",
    "a mapping in text": "--model.sampling '{top_k: 3}'",
    "a section in text": "--trainer '{max_epochs: 3}'",
    "init_args in a flag": "--model.init_args.max_length 8",
    "a class by its own name": "--model CausalLM",
    "a class by its home": "--model zoo.tasks.causal_lm.CausalLM",
    "another optimizer": "--model.optimizer SGD --model.optimizer.lr 0.1",
    "an optimizer's mapping": "--model.optimizer '{class_path: torch.optim.SGD, init_args: {lr: 0.1, nesterov: true}}'",
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
    "a class of one's own": "--model my_lab.LM --model.gamma 3 --model.max_length 8",
    "a class that pops a keyword": "--model my_pop.LM --model.gamma 3",
    "a class that sets a base's argument": "--model my_fixed.LM",
    "a class behind an import": "--model my_import.LM --model.gamma 3",
    "a class from a function": "--model my_made.LM",
}
ODDER = {
    "a shorthand": ("--prompt Once", "data.init_args.predict", "Once"),
    "a shorthand before its data": ("--prompt 2016 --data zoo.TextData", "data.init_args.predict", "2016"),
    "a callback": (
        "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/loss",
        "trainer.callbacks",
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/loss"}},
    ),
    "a tab, as it is typed": ("--data.separator '\\t'", "data.init_args.separator", "\\t"),
    "an argument before its class": (
        "--data.batch_size 3 --data zoo.TextData --data.limit 4",
        "data.init_args",
        {"train": "notes.txt", "batch_size": 3, "limit": 4},
    ),
    "a prompt that looks like YAML": ("--prompt '{a: b}'", "data.init_args.predict", "{a: b}"),
    "a prompt that looks like a list": ("--prompt '[1] He said:'", "data.init_args.predict", "[1] He said:"),
    "a key in a network's settings": (
        "--config scratch.yaml --model.architecture.n_layer 2",
        "model.init_args.architecture",
        {"model_type": "gpt2", "n_layer": 2},
    ),
}
REFUSED = {
    "--trainer.max_ep 3": "unknown flag --trainer.max_ep; did you mean --trainer.max_epochs?",
    "--trainer t.yaml": "trainer is 't.yaml'; expected settings (a file of them goes with --config).",
    "--model.optimizer o.yaml": (
        "model.optimizer is 'o.yaml'; expected a class path (a file of settings goes with --config)."
    ),
    "--model.max_length null": "model.max_length is null; expected a whole number from 2.",
}
FILES = {
    "quoted.yaml": "model: {max_length: '8', compile: 'no'}\ndata: {batch_size: 0x10}\n",
    "flat.yaml": "model: {max_length: 8, optimizer: {lr: 0.1}}\n",
    "anchor.yaml": "model: {init_args: {max_length: &size 8, stride: *size}}\n",
    "merge.yaml": "data: {init_args: {<<: {batch_size: 3}, eval_batch_size: 4}}\n",
    "bom.yaml": "\ufeffdata: {init_args: {batch_size: 3}}\n",
    "append.yaml": "trainer: {callbacks+: {class_path: zoo.EMA}}\n",
    "my_lab.py": LAB.format("gamma: float = 2.0, ", "", ""),
    "my_pop.py": LAB.format("", "self.gamma = kwargs.pop('gamma', 2.0)\n        ", ""),
    "my_fixed.py": LAB.format("pretrained: str | None = None, ", "", "pretrained='gpt2', "),
    "my_import.py": "from my_lab import LM\n",
    "my_made.py": "import zoo\nLM = type('LM', (zoo.CausalLM,), {'__module__': __name__})\n",
    "scratch.yaml": "model: {init_args: {pretrained: null, tokenizer: gpt2, architecture: {model_type: gpt2}}}\n",
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


def merged(*flags: str, may_import: bool = False) -> tuple[dict[str, Any], list[str]]:
    settings, problems = merging.merged(schema.load(may_import), flags).check("fit")
    return settings, [problem.line for problem in problems if problem.code != MISSING]


class BothParsedError(Exception):
    pass


class Both(ZooCLI):
    """Parses what zoo merged, and what LightningCLI itself makes of the same command line."""

    def parse_arguments(self, parser: Any, args: Any) -> None:
        super().parse_arguments(parser, args)
        theirs = parser.parse_args(["fit", "--config", str(merging.DEFAULTS), *self.request.flags])
        raise BothParsedError(*(parser.dump(config, skip_unset=False) for config in (self.config, theirs)))


def both_parsed(flags: list[str]) -> list[dict[str, Any]]:
    settings, problems = merged(*flags, may_import=True)
    assert problems == []
    with pytest.raises(BothParsedError) as parsed:
        Both(Request("fit", flags, None, "run", []), settings, Signals())
    return [yaml.safe_load(text)["fit"] for text in parsed.value.args]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_has_no_problem(config: Path):
    assert merged("--config", str(config))[1] == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda path: path.stem)
def test_a_shipped_overlay_has_no_problem(config: Path, overlay: Path):
    if overlay.stem != "wikitext2_protocol" or "gpt2" in config.stem:
        assert merged("--config", str(config), "--config", str(overlay))[1] == []


@pytest.mark.parametrize("command", README)
def test_a_command_of_the_readme_has_no_problem(command: str, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    argv = shlex.split(command, comments=True)
    own = LAB.format("gamma: float = 2.0, ", "", "").replace("LM(", "FocalLM(")
    (here / "my_lab.py").write_text(f"{own}\n\nclass SmoothClassifier(zoo.ImageClassification):\n    pass\n")
    monkeypatch.syspath_prepend(here)
    request = Request.parse(argv)
    assert merged(*request.flags)[1] == []


@pytest.mark.parametrize("flags", ODD.values(), ids=ODD.keys())
def test_the_one_merge_is_that_of_lightning(flags: str, folder: Path):
    ours, theirs = both_parsed(["--config", "c.yaml", *shlex.split(flags)])
    assert ours == theirs
    assert merged("--config", "c.yaml", *shlex.split(flags))[1] == []  # before the imports


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_are_merged_as_lightning_merges_them(overlay: Path):
    ours, theirs = both_parsed(["--config", str(ROOT / "configs" / "gpt2_finetune.yaml"), "--config", str(overlay)])
    assert ours == theirs


@pytest.mark.parametrize("flags", ODDER.values(), ids=ODDER.keys())
def test_what_only_zoo_takes_from_a_command_line(flags: tuple[str, str, Any], folder: Path):
    typed, key, value = flags
    settings, problems = merged("--config", "c.yaml", *shlex.split(typed))
    assert problems == []
    for part in key.split("."):
        settings = settings[part]
    assert settings == value


def test_arguments_may_stand_before_their_class(folder: Path):
    flags = (
        "--model.max_length 8 --model.optimizer.lr 0.1 --model.optimizer SGD --model zoo.CausalLM --data zoo.TextData"
    )
    expected = {"max_length": 8, "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}}
    settings = merged(*shlex.split(flags))[0]
    assert settings["model"] == {"class_path": "zoo.CausalLM", "init_args": expected}


DATA = """\
import zoo
from zoo.samples import SpeechSample


class Radio(zoo.DataModule):
    sample_types = (SpeechSample,)


class Silent(zoo.DataModule):
    pass
"""


@pytest.mark.parametrize(
    ("flags", "apart"),
    [
        ("--model my_lab.LM --data zoo.ImageData", True),
        ("--data my_data.Radio", True),
        ("--data my_data.Silent", False),
    ],
)
def test_a_task_and_data_of_ones_own_are_told_that_they_do_not_go_together(flags: str, apart: bool, folder: Path):
    (folder / "my_data.py").write_text(DATA)
    lines = merged("--config", "c.yaml", *shlex.split(flags))[1]
    assert ["which takes text samples" in line for line in lines] == [True] * apart


@pytest.mark.parametrize(("typed", "line"), REFUSED.items(), ids=REFUSED.keys())
def test_what_only_the_parser_would_take_is_refused(typed: str, line: str, folder: Path):
    assert merged("--config", "c.yaml", *shlex.split(typed))[1] == [line]


def of_versions(**versions: str) -> schema.Schema:
    content = schema.load().content
    return schema.Schema({**content, "x-versions": {**schema.installed(), **versions}})


@pytest.mark.parametrize(("torch", "known"), [("2.99.0", False), (f"{schema.installed()['torch']}9", True)])
def test_the_schema_of_another_minor_version_leaves_its_classes_alone(torch: str, known: bool, folder: Path):
    flags = ["--config", "c.yaml", "--model.optimizer.lr", "fast", "--data.train", "c.yaml"]
    problems = merging.merged(of_versions(torch=torch), flags).check("fit")[1]
    assert [problem.line.split()[0] for problem in problems] == ["model.optimizer.lr"] * known


def test_a_patch_of_lightning_does_not_switch_the_checks_off(folder: Path):
    patched = of_versions(lightning=f"{schema.installed()['lightning']}9")
    flags = ["--config", "c.yaml", "--trainer.max_epohs", "2", "--data.train", "c.yaml"]
    problems = merging.merged(patched, flags).check("fit")[1]
    assert "did you mean --trainer.max_epochs?" in problems[0].line


def test_the_schema_of_another_minor_version_still_knows_our_own(folder: Path):
    other = of_versions(torch="2.99.0", lightning="2.99.0")
    problems = merging.merged(other, ["--config", "c.yaml", "--data.batch_sise", "1", "--trainer.x", "1"]).check("fit")[
        1
    ]
    assert problems[0].line == "unknown flag --data.batch_sise; did you mean --data.batch_size?"
