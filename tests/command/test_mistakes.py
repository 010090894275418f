"""Mistakes in configs, flags and surroundings: what is typed, and every line that comes back, before any import."""

# ruff: noqa: E501 – a table reads better with its rows whole

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_text import CONFIG

from zoo.command.settings.merging import DEFAULTS
from zoo.command.settings.problems import shown

MY_LAB = """\
import zoo
from zoo.errors import ConfigError


class FocalLM(zoo.CausalLM):
    def __init__(self, gamma: float = 2.0, **kwargs):
        super().__init__(**kwargs)
        if gamma < 0:
            raise ConfigError(f"model.gamma is {gamma}; 0 or more.")
"""
FILES = {
    "empty.yaml": b"",
    "comment.yaml": b"# nothing yet\n",
    "list.yaml": b"- model\n- data\n",
    "text.yaml": b"hello\n",
    "utf16.yaml": CONFIG.encode("utf-16"),
    "latin.yaml": "# Für mich\n".encode("latin-1") + CONFIG.encode(),
    "step=3.ckpt": b"PK\3\4\0\0\0\0",
    "tab.yaml": b"trainer:\n\tmax_epochs: 1\n",
    "twice.yaml": b"trainer:\n  max_epochs: 1\n  max_epochs: 2\n",
    "colon.yaml": b"trainer: max_epochs: 1\n",
    "unclosed.yaml": b"trainer: {max_epochs: 1\n",
    "space.yaml": b"trainer: max_epochs:1\n",
    "stop.yaml": b"trainer:\n  callbacks+:\n    - class_path: zoo.EMA\n      init_args: {decai: 0.9}\n",
    "stop2.yaml": b"trainer:\n  callbacks+:\n    - class_path: lightning.pytorch.callbacks.EarlyStoping\n",
    "brackets.yaml": 100_000 * b"[",
    "bomb.yaml": b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + b"".join(b"%c: &%c [%s]\n" % (i + 1, i + 1, b", ".join(9 * [b"*%c" % i])) for i in range(97, 110)),
    "merge.yaml": b"a: &a {"
    + b", ".join(b"k%d: 1" % i for i in range(9))
    + b"}\n"
    + b"".join(b"%c: &%c {<<: [%s]}\n" % (i + 1, i + 1, b", ".join(9 * [b"*%c" % i])) for i in range(97, 110)),
    "large.yaml": 1_100_000 * b"#",
    "documents.yaml": b"trainer: {}\n---\ntrainer: {}\n",
    "notes.txt": b"some words\n" * 9,
}
C = ("fit", "--config", "c.yaml")
IN_FILES: dict[str, tuple[str, str, str]] = {  # what is in the config; what is typed instead; what each line names, in order
    'a key': ('max_length', 'max_lenght', 'model.max_lenght … c.yaml:5 … max_length?'),
    'a key of the trainer': ('max_epochs: 1', 'max_epochs: 1, log_every_n_step: 1', 'trainer.log_every_n_step … c.yaml:10 … log_every_n_steps?'),
    'a key in the wrong section': ('max_epochs: 1', 'max_epochs: 1, batch_size: 4', 'trainer.batch_size … c.yaml:10 … it belongs … data.batch_size'),
    'a section': ('trainer:', 'trianer:', 'section trianer … c.yaml:10 … trainer?'),
    'a setting for a section': ('trainer:', 'batch_size: 4\ntrainer:', 'section batch_size … c.yaml:10 … data.batch_size?'),
    'text for a number': ('max_length: 8', 'max_length: eight', "model.max_length … 'eight' … c.yaml:5"),
    'a fraction for a count': ('max_length: 8', 'max_length: 8.5', 'model.max_length … 8.5 … c.yaml:5 … whole number from 2'),
    'a number for text': ('notes.txt', '2016', "data.train … c.yaml:9 … '2016'"),
    'a list for a number': ('max_length: 8', 'max_length: [8]', 'model.max_length … [8] … c.yaml:5 … whole number from 2'),
    'neither number nor auto': ('max_length: 8', 'micro_batch_size: autos', "model.micro_batch_size … 'autos' … c.yaml:5 … whole number from 1 … null … auto"),
    'a number for yes or no': ('max_length: 8', 'compile: 1', 'model.compile … c.yaml:5 … true or false'),
    'a choice': ('max_length: 8', 'schedule: cosin', "model.schedule … 'cosin' … c.yaml:5 … cosine?"),
    'a precision': ('max_epochs: 1', 'max_epochs: 1, precision: fp8', "trainer.precision … 'fp8' … c.yaml:10 … one of auto, 32-true, bf16-mixed, 16-mixed"),
    'a precision nearly right': ('max_epochs: 1', 'max_epochs: 1, precision: bf16', "trainer.precision … 'bf16' … c.yaml:10 … bf16-mixed?"),
    'a batch of nothing': ('train: notes.txt', 'train: notes.txt, batch_size: 0', 'data.batch_size … 0 … c.yaml:9 … from 1'),
    'a share above one': ('train: notes.txt', 'train: notes.txt, validation_fraction: 2', 'data.validation_fraction … 2 … c.yaml:9 … between 0 and 1'),
    'a negative warm-up': ('max_length: 8', 'warmup_steps: -1', 'model.warmup_steps … -1 … c.yaml:5 … from 0'),
    'two that exclude each other': ('max_length: 8', 'architecture: gpt2', 'one of model.pretrained and model.architecture … c.yaml:4\nmodel.tokenizer … model.vocab_size … c.yaml:5'),
    'a run without end': ('max_epochs: 1', 'max_epochs: null', 'trainer.max_epochs … trainer.max_steps … c.yaml:10'),
    "an optimizer's argument": ('lr: 0.001', 'lr: 0.001, weight_decy: 1', 'model.optimizer.weight_decy … c.yaml:6 … weight_decay?'),
    "another optimizer's argument": ('lr: 0.001', 'lr: 0.001, momentum: 1', 'model.optimizer.momentum … c.yaml:6 … lr, betas, eps'),
    'an optimizer': ('AdamW', 'AdamWW', 'model.optimizer … AdamWW … c.yaml:6 … torch.optim.AdamW?'),
    'text for a rate': ('lr: 0.001', 'lr: fast', "model.optimizer.lr … 'fast' … c.yaml:6"),
    'too few values': ('lr: 0.001', 'betas: [0.9]', 'model.optimizer.betas … 1 … c.yaml:6 … 2'),
    'an argument that is needed': ('max_epochs: 1', 'max_epochs: 1, callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStopping}]', 'trainer.callbacks[0].monitor … lightning.pytorch.callbacks.EarlyStopping at c.yaml:10 needs it'),
    'a task': ('zoo.CausalLM', 'zoo.CausalML', 'CausalML … c.yaml:2 … zoo.CausalLM?'),
    'data for a task': ('zoo.CausalLM', 'zoo.TextData', 'zoo.TextData … c.yaml:2 … Task … zoo.CausalLM, '),
    'data of other samples': ('zoo.TextData', 'zoo.ImageData', 'model is zoo.CausalLM, which takes text samples … data is zoo.ImageData at c.yaml:7 … image samples … data to zoo.TextData, or model to … zoo.ImageClassification'),
    'class_path': ('class_path: zoo.CausalLM', 'clas_path: zoo.CausalLM', 'model.clas_path … c.yaml:2 … class_path?'),
    'init_args': ('  init_args:\n', '  init_arg:\n', 'model.init_arg … c.yaml:3 … init_args?'),
    'a module': ('zoo.CausalLM', 'my_lba.FocalLM', 'my_lba … c.yaml:2 … my_lab?'),
    "a class of one's own": ('zoo.CausalLM', 'my_lab.FocaLM', 'FocaLM … c.yaml:2 … FocalLM?'),
    "an argument of one's own class": ('zoo.CausalLM\n  init_args:\n', 'my_lab.FocalLM\n  init_args:\n    gama: 2\n', 'model.gama … c.yaml:4 … gamma?'),
    "a type in one's own class": ('zoo.CausalLM\n  init_args:\n', 'my_lab.FocalLM\n  init_args:\n    gamma: much\n', "model.gamma … 'much' … c.yaml:4"),
    'a setting in a group': ('max_length: 8', 'sampling: {topk: 3}', 'model.sampling.topk … c.yaml:5 … top_k?'),
    "a rate below nothing": ("lr: 0.001", "lr: -1", "model.optimizer.lr … -1 … c.yaml:6 … from 0"),
    "a rate that is no number": ("lr: 0.001", "lr: .nan", "model.optimizer.lr … nan … c.yaml:6 … from 0"),
    "a decay that is no number": ("lr: 0.001", "weight_decay: .nan", "model.optimizer.weight_decay … nan … c.yaml:6"),
    "nothing for a number": ("max_length: 8", "max_length:", "model.max_length … empty … c.yaml:5 … whole number from 2"),
    "nothing for a class": ("class_path: zoo.TextData\n  init_args: {train: notes.txt}", "", "data … empty … c.yaml:7 … class_path"),
    "nothing for a section": ("trainer: {max_epochs: 1}", "trainer:", "trainer … empty … c.yaml:10"),
    "fewer than no workers": ("train: notes.txt", "train: notes.txt, num_workers: -1", "data.num_workers … -1 … c.yaml:9 … from 0"),
    "a dropout above one": ("max_length: 8", "dropout: 1.5", "model.dropout … 1.5 … c.yaml:5 … from 0 to 1"),
    "a negative seed": ("trainer:", "seed_everything: -1\ntrainer:", "seed_everything … -1 … c.yaml:10 … from 0 to 4294967295"),
    "a seed of 71 bits": ("trainer:", f"seed_everything: {2**70}\ntrainer:", f"seed_everything … {2**70} … c.yaml:10 … from 0 to 4294967295"),
    "no epochs": ("max_epochs: 1", "max_epochs: 0", "trainer.max_epochs … 0 … c.yaml:10 … from 1"),
    "no batches": ("max_epochs: 1", "max_epochs: 1, limit_train_batches: 0", "trainer.limit_train_batches … 0 … c.yaml:10 … whole number from 1 … number above 0 and up to 1"),
    "more than all batches": ("max_epochs: 1", "max_epochs: 1, limit_train_batches: 1.5", "trainer.limit_train_batches … 1.5 … c.yaml:10"),
    "steps below none": ("max_epochs: 1", "max_steps: -2", "trainer.max_steps … -2 … c.yaml:10 … from -1"),
    "a clipping uphill": ("max_epochs: 1", "max_epochs: 1, gradient_clip_val: -1", "trainer.gradient_clip_val … -1 … c.yaml:10 … above 0"),
    "a stride over the window": ("max_length: 8", "max_length: 8\n    stride: 9", "model.stride … 9 … model.max_length … 8 … c.yaml:6 … up to"),
    "two characters between cells": ("train: notes.txt", "train: notes.txt, separator: ';;'", "data.separator … ';;' … c.yaml:9 … one character"),
    "a number no constructor takes": ("max_length: 8", "max_length: 0x_", "c.yaml:5 … '0x_'"),
    "nothing as a number": ("max_length: 8", "max_length: !!int ''", "c.yaml:5 … ''"),
    "a list for a key": ("max_length: 8", "? [a]\n    : 8", "c.yaml:5 … a key"),
    "a reference to nothing": ("max_length: 8", "max_length: *size", "c.yaml:5 … &size"),
    "an object of Python's": ("max_length: 8", "max_length: !!python/object/apply:os.getpid []", "model.max_length … c.yaml:5"),
    "a class of Lightning in zoo": ("max_epochs: 1", "max_epochs: 1, callbacks: [{class_path: zoo.EarlyStopping, init_args: {monitor: val/loss}}]",
                                    "trainer.callbacks[0] … c.yaml:10 … lightning.pytorch.callbacks.EarlyStopping?"),
    "something of the standard library": ("torch.optim.AdamW, init_args: {lr: 0.001}", "os.system, init_args: {command: ls}", "model.optimizer … os.system … c.yaml:6 … standard library"),
    'streaming': ('train: notes.txt', 'train: notes.txt, streaming: true', 'data.streaming … c.yaml:9 … data.limit'),
    'several at once': ('max_length: 8', 'max_lenght: 8\n    dropout: much\n    schedule: cos', "model.max_lenght … c.yaml:5 … max_length?\nmodel.dropout … 'much' … c.yaml:6\nmodel.schedule … 'cos' … c.yaml:7 … cosine?"),
}  # fmt: skip
ON_THE_LINE: dict[str, tuple[tuple[str, ...], int, str]] = {
    'a command': (('fti',), 2, 'zoo fti … fit? … --help'),
    "a command of another tool": (("train",), 2, "zoo train … fit?"),
    "a flag of zoo's own": (("fit", "--conifg", "c.yaml"), 2, "--conifg … --config?"),
    "a flag of zoo's own, without a run": (("predict", "--conifg", "c.yaml"), 2, "no run yet\n--conifg … --config?"),
    "a file without a flag": ((*C, "notes.txt"), 2, "notes.txt … --data.train notes.txt?"),
    "a run to go on with": (("fit", "--resume", "nothere"), 66, "--resume nothere"),
    "a shorthand of other data": ((*C, "--image", "cat.png"), 2, "--image … zoo.TextData … --prompt"),
    "the home of nobody": ((*C, "--data.train", "~nobody/x"), 66, "data.train … ~nobody/x"),
    "a config of nobody": (("fit", "--config", "~nobody/x.yaml"), 66, "~nobody/x.yaml"),
    "a name that no file has": ((*C, "--data.train", "/" + 5000 * "x"), 66, "data.train"),
    "a config that no file is": (("fit", "--config", 5000 * "x"), 66, "--config"),
    "a number of 5,000 digits": ((*C, "--model.max_length", 5000 * "9"), 2, "model.max_length"),
    "bytes that are no text": ((*C, "--prompt", os.fsdecode(b"\xff")), 2, "udcff … UTF-8"),
    "a device for a config": (("fit", "--config", "/dev/zero"), 66, "/dev/zero … regular file"),
    "a pipe for a config": (("fit", "--config", "pipe.yaml"), 66, "pipe.yaml … regular file"),
    "brackets": ((*C, "--config", "brackets.yaml"), 2, "brackets.yaml:1 … nested"),
    "a bomb": ((*C, "--config", "bomb.yaml"), 2, "bomb.yaml:6 … 100,000"),
    "a bomb of merge keys": ((*C, "--config", "merge.yaml"), 2, "merge.yaml … 100,000"),
    "a large config": ((*C, "--config", "large.yaml"), 2, "large.yaml … bytes"),
    "two documents": ((*C, "--config", "documents.yaml"), 2, "documents.yaml:1 … several documents"),
    'nothing to train': (('fit',), 2, 'model and data … --config quickstart'),
    'no file': (('fit', '--config', 'cc.yaml'), 66, 'cc.yaml … c.yaml?'),
    'a folder': (('fit', '--config', 'configs'), 66, 'configs … folder … a.yaml'),
    'an empty file': (('fit', '--config', 'empty.yaml'), 2, '--config … empty.yaml … empty … zoo list'),
    'a file of comments': (('fit', '--config', 'comment.yaml'), 2, '--config … comment.yaml … empty … zoo list'),
    'a list': (('fit', '--config', 'list.yaml'), 2, '--config … list.yaml … list'),
    'a text': (('fit', '--config', 'text.yaml'), 2, "--config … text.yaml … 'hello'"),
    'UTF-16': (('fit', '--config', 'utf16.yaml'), 2, '--config … utf16.yaml … UTF-16 … UTF-8'),
    'Latin-1': (('fit', '--config', 'latin.yaml'), 2, 'latin.yaml … line 1'),
    'a checkpoint for a config': (('fit', '--config', 'step=3.ckpt'), 2, '--config … step=3.ckpt'),
    'a tab': ((*C, '--config', 'tab.yaml'), 2, 'tab.yaml:2 … tab'),
    'a key twice': ((*C, '--config', 'twice.yaml'), 2, 'max_epochs … twice.yaml: lines 2 and 3'),
    'a second colon': ((*C, '--config', 'colon.yaml'), 2, "colon.yaml:1 … colon … 'trainer: max_epochs: 1'"),
    'a bracket': ((*C, '--config', 'unclosed.yaml'), 2, 'unclosed.yaml:1 … {'),
    'a colon without a space': ((*C, '--config', 'space.yaml'), 2, "'max_epochs:1' … space.yaml:1 … colon"),
    "a callback's argument in an overlay": ((*C, '--config', 'stop.yaml'), 2, 'trainer.callbacks[0].decai … stop.yaml:4 … decay?'),
    'a callback in an overlay': ((*C, '--config', 'stop2.yaml'), 2, 'trainer.callbacks[0] … stop2.yaml:3 … lightning.pytorch.callbacks.EarlyStopping?'),
    'a name of another library': ((*C, '--model.block_size', '2'), 2, '--model.block_size … model.max_length'),
    'a share of steps': ((*C, '--warmup_ratio', '0.1'), 2, '--warmup_ratio … model.warmup_steps'),
    'a norm': ((*C, '--trainer.max_grad_norm', '1'), 2, 'max_grad_norm … trainer.gradient_clip_val'),
    'a flag': ((*C, '--trainer.max_epohs', '2'), 2, '--trainer.max_epohs … --trainer.max_epochs?'),
    "a flag's section": ((*C, '--trainr.max_epochs', '2'), 2, '--trainr.max_epochs … --trainer.max_epochs?'),
    'a flag without its section': ((*C, '--batch_size', '2'), 2, '--batch_size … --data.batch_size?'),
    "a section's flag": ((*C, '--modle', 'x'), 2, '--modle … --model?'),
    'a flag of an optimizer': ((*C, '--model.optimizer.lrr', '1'), 2, '--model.optimizer.lrr … --model.optimizer.lr?'),
    'a flag without value': ((*C, '--trainer.max_epochs',), 2, '--trainer.max_epochs … whole number'),
    "a flag's type": ((*C, '--trainer.max_epochs', 'x'), 2, "trainer.max_epochs … 'x'"),
    "a flag's range": ((*C, '--data.batch_size', '-3'), 2, 'data.batch_size … -3 … from 1'),
    'a config without --config': (('fit', 'c.yaml'), 2, 'c.yaml … --config c.yaml?'),
    'a word too many': ((*C, 'now',), 2, "'now'"),
    'no data': ((*C, '--data.train', 'note.txt'), 66, 'data.train … note.txt … notes.txt?'),
    'no folder': ((*C, '--data.train', './images'), 66, 'data.train … ./images … folder'),
    'no weights': ((*C, '--model.pretrained', './gpt2'), 66, 'model.pretrained … ./gpt2 … folder'),
    'no GPU': ((*C, '--trainer.accelerator', 'gpu'), 2, "trainer.accelerator … 'gpu' … GPU … zoo doctor"),
    'no run to go on with': (('fit', '--resume'), 66, 'no run yet … zoo fit'),
    'no run to test': (('test', '--run', 'gpt3'), 66, '--run gpt3 … zoo fit'),
    'a name with folders': ((*C, '--name', 'a/b'), 2, "--name … 'a/b'"),
    'a run for fit': ((*C, '--run', 'x'), 2, 'zoo fit … --run … --resume'),
    'resume for test': (('test', '--resume'), 2, 'zoo test … --resume … --run'),
}  # fmt: skip


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a good config and some that are not."""
    for name, content in FILES.items():
        (here / name).write_bytes(content)
    (here / "c.yaml").write_text(CONFIG)
    (here / "my_lab.py").write_text(MY_LAB)
    os.mkfifo(here / "pipe.yaml")
    (here / "configs").mkdir()
    (here / "configs" / "a.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(here)
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]  # of another test's folder
    return here


def said(found: tuple[int, str, str], code: int, lines: str) -> None:
    """Hold what a command said against what its lines have to name, in order."""
    complaint = found[2].splitlines()
    assert (found[:2], len(complaint)) == ((code, ""), len(lines.splitlines())), found
    for line, pieces in zip(complaint, lines.splitlines(), strict=True):
        assert line.startswith("zoo: ")
        assert re.search(".*?".join(map(re.escape, pieces.split(" … "))), line), (line, pieces)


@pytest.mark.parametrize(("was", "typed", "lines"), IN_FILES.values(), ids=IN_FILES.keys())
def test_a_mistake_in_a_config_gets_its_lines(was: str, typed: str, lines: str, folder: Path, zoo_command: Any):
    assert CONFIG.count(was) == 1
    (folder / "c.yaml").write_text(CONFIG.replace(was, typed))
    said(zoo_command(*C), 2, lines)


@pytest.mark.parametrize(("argv", "code", "line"), ON_THE_LINE.values(), ids=ON_THE_LINE.keys())
def test_a_mistake_on_the_command_line_gets_a_line(
    argv: tuple[str, ...], code: int, line: str, folder: Path, zoo_command: Any
):
    said(zoo_command(*argv), code, line)


def test_a_misspelt_variable_is_named(here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_CAHCE", "/tmp")
    expected = "zoo: environment variable ZOO_CAHCE is not one of zoo's; did you mean ZOO_CACHE?\n"
    assert zoo_command("fit") == (2, "", expected)


def test_a_variable_of_another_zoo_is_left_alone(here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_TICK_TIME", "2000")
    assert "ZOO_TICK" not in zoo_command("fit")[2]


def test_mistakes_of_two_files_come_in_one_report(folder: Path, zoo_command: Any):
    complaint = zoo_command(*C, "--config", "twice.yaml", "--config", "stop.yaml", "--trainer.max_epohs", "2")[2]
    assert [line.split()[1] for line in complaint.splitlines()] == ["max_epochs", "unknown", "unknown"]


def test_every_mistake_of_a_file_comes_in_one_report(folder: Path, zoo_command: Any):
    (folder / "c.yaml").write_text("""\
model:
  class_path: zoo.CausalLM
  init_args:
    architecture: gpt2
    max_lenght: 8
    dropout: 2
    micro_batch_size: 0
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: -1, weight_decy: 0}}
data: {class_path: zoo.TextData, init_args: {train: nowhere.txt, batch_size: few}}
trainer: {max_epochs: null, precision: fp8, callbacks: [{class_path: zoo.EMA, init_args: {decay: 1}}]}
chekpoint: {keep: 0}
""")
    keys = ("chekpoint", "model.max_lenght", "model.dropout", "model.micro_batch_size", "optimizer.lr",
            "optimizer.weight_decy", "data.batch_size", "trainer.precision", "trainer.callbacks[0].decay",
            "data.train")  # fmt: skip
    code, _, complaint = zoo_command(*C)
    lines = complaint.splitlines()
    assert (code, len(lines)) == (2, len(keys))
    assert all(any(key in line for line in lines) for key in keys)


def test_help_of_a_command_can_be_asked_for_as_elsewhere(folder: Path, zoo_command: Any):
    expected = zoo_command("fit", "--help")
    assert expected[0] == 0
    assert zoo_command("help", "fit") == zoo_command("fit", "-h") == expected
    assert zoo_command("fit", "--trainer.help") == zoo_command("fit", "--trainer", "--help")


def test_help_of_the_trainer_shows_the_defaults_of_zoo(folder: Path, zoo_command: Any):
    said = " ".join(zoo_command("fit", "--trainer", "--help")[1].split())
    for key, value in yaml.safe_load(DEFAULTS.read_text())["trainer"].items():
        after = said.partition(f"--trainer.{key} ")[2].partition(" --trainer.")[0]
        assert after.endswith(f"Default: {shown(value)}"), key


def test_a_wrong_setting_wins_over_a_missing_file(folder: Path, zoo_command: Any):
    code, _, complaint = zoo_command(*C, "--config", "nope.yaml", "--trainer.max_epohs", "2")
    assert (code, len(complaint.splitlines())) == (2, 2)


HEAVY = ("torch", "lightning", "transformers", "datasets", "jsonargparse", "numpy", "zoo.task", "zoo.datamodule")
ASKED = (*((*argv,) for argv, _, _ in list(ON_THE_LINE.values())[::5]), (), ("--help",), ("fit", "--help"),
         ("fit", "--model", "zoo.CausalLM", "--help"), ("list",), ("schema", "--help"))  # fmt: skip


@pytest.mark.parametrize("argv", ASKED, ids=" ".join)
def test_help_and_mistakes_come_before_heavy_imports(argv: tuple[str, ...], folder: Path):
    code = (
        f"import sys, zoo.__main__; zoo.__main__.main({[*argv]!r});"
        f"print('heavy:', sorted({{*{HEAVY!r}}} & {{*sys.modules}}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.splitlines()[-1] == "heavy: []"
