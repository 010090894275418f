"""Mistakes in configs, flags and surroundings: what is typed, and every line that comes back, before any import."""

# ruff: noqa: E501 – a table reads better with its rows whole

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
model:
  class_path: zoo.CausalLM
  init_args:
    pretrained: gpt2
    max_length: 8
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001}}
data:
  class_path: zoo.TextData
  init_args: {train: notes.txt}
trainer: {max_epochs: 1}
"""
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
    "notes.txt": b"some words\n" * 9,
}
C = ("fit", "--config", "c.yaml")
IN_FILES: dict[str, tuple[str, str, str]] = {  # what is in the config; what is typed instead; the lines
    "a key": ("max_length", "max_lenght", "unknown key model.max_lenght at c.yaml:5; did you mean max_length?"),
    "a key of the trainer": (
        "max_epochs: 1",
        "max_epochs: 1, log_every_n_step: 1",
        "unknown key trainer.log_every_n_step at c.yaml:10; did you mean log_every_n_steps?",
    ),
    "a key in the wrong section": (
        "max_epochs: 1",
        "max_epochs: 1, batch_size: 4",
        "unknown key trainer.batch_size at c.yaml:10; it belongs to another section: data.batch_size.",
    ),
    "a section": ("trainer:", "trianer:", "unknown section trianer at c.yaml:10; did you mean trainer?"),
    "a setting for a section": (
        "trainer:",
        "batch_size: 4\ntrainer:",
        "unknown section batch_size at c.yaml:10; did you mean data.batch_size?",
    ),
    "text for a number": (
        "max_length: 8",
        "max_length: eight",
        "model.max_length is 'eight' at c.yaml:5; expected a whole number.",
    ),
    "a fraction for a count": (
        "max_length: 8",
        "max_length: 8.5",
        "model.max_length is 8.5 at c.yaml:5; expected a whole number.",
    ),
    "a number for text": (
        "notes.txt",
        "2016",
        "data.train is 2016 at c.yaml:9; expected text: put it in quotes, '2016'.",
    ),
    "a list for a number": (
        "max_length: 8",
        "max_length: [8]",
        "model.max_length is [8] at c.yaml:5; expected a whole number.",
    ),
    "neither number nor auto": (
        "max_length: 8",
        "micro_batch_size: autos",
        "model.micro_batch_size is 'autos' at c.yaml:5; expected a whole number or null or auto.",
    ),
    "a number for yes or no": (
        "max_length: 8",
        "compile: 1",
        "model.compile is 1 at c.yaml:5; expected true or false.",
    ),
    "a choice": (
        "max_length: 8",
        "schedule: cosin",
        "model.schedule is 'cosin' at c.yaml:5; did you mean cosine? One of cosine, linear, constant.",
    ),
    "a precision": (
        "max_epochs: 1",
        "max_epochs: 1, precision: fp8",
        "trainer.precision is 'fp8' at c.yaml:10; one of 32-true, bf16-mixed, 16-mixed.",
    ),
    "a precision nearly right": (
        "max_epochs: 1",
        "max_epochs: 1, precision: bf16",
        "trainer.precision is 'bf16' at c.yaml:10; did you mean bf16-mixed? One of 32-true, bf16-mixed, 16-mixed.",
    ),
    "a batch of nothing": (
        "train: notes.txt",
        "train: notes.txt, batch_size: 0",
        "data.batch_size is 0 at c.yaml:9; a whole number from 1.",
    ),
    "a share above one": (
        "train: notes.txt",
        "train: notes.txt, validation_fraction: 2",
        "data.validation_fraction is 2 at c.yaml:9; between 0 and 1.",
    ),
    "a negative warm-up": (
        "max_length: 8",
        "warmup_steps: -1",
        "model.warmup_steps is -1 at c.yaml:5; a number of steps, or their share below 1.",
    ),
    "two that exclude each other": (
        "max_length: 8",
        "architecture: gpt2",
        "set one of model.pretrained (start from its weights) and model.architecture (scratch) at c.yaml:4.",
    ),
    "a run without end": (
        "max_epochs: 1",
        "max_epochs: null",
        "neither trainer.max_epochs nor trainer.max_steps is set at c.yaml:10; the run would never end.",
    ),
    "an optimizer's argument": (
        "lr: 0.001",
        "lr: 0.001, weight_decy: 1",
        "unknown key model.optimizer.weight_decy at c.yaml:6; did you mean weight_decay?",
    ),
    "another optimizer's argument": (
        "lr: 0.001",
        "lr: 0.001, momentum: 1",
        "unknown key model.optimizer.momentum at c.yaml:6; there are lr, betas, eps, weight_decay, amsgrad, maximize, "
        "foreach, capturable, differentiable, fused.",
    ),
    "an optimizer": (
        "AdamW",
        "AdamWW",
        "model.optimizer: torch.optim has no class AdamWW at c.yaml:6; did you mean torch.optim.AdamW?",
    ),
    "text for a rate": ("lr: 0.001", "lr: fast", "model.optimizer.lr is 'fast' at c.yaml:6; expected a number or a mapping."),
    "too few values": (
        "lr: 0.001",
        "betas: [0.9]",
        "model.optimizer.betas has 1 values at c.yaml:6; expected 2.",
    ),
    "no optimizer": (
        "    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001}}\n",
        "",
        "model.optimizer is not set, and zoo.CausalLM at c.yaml:2 needs it as "
        "{class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}.",
    ),
    "a task": (
        "zoo.CausalLM",
        "zoo.CausalML",
        "model: zoo has no class CausalML at c.yaml:2; did you mean zoo.CausalLM?",
    ),
    "data for a task": (
        "zoo.CausalLM",
        "zoo.TextData",
        "model is zoo.TextData at c.yaml:2, which is no Task; one of zoo.CausalLM, zoo.ImageClassification.",
    ),
    "class_path": ("class_path: zoo.CausalLM", "clas_path: zoo.CausalLM",
                   "unknown key model.clas_path at c.yaml:2; did you mean class_path?"),
    "init_args": ("  init_args:\n", "  init_arg:\n", "unknown key model.init_arg at c.yaml:3; did you mean init_args?\n"
                  "zoo: model.optimizer is not set, and zoo.CausalLM at c.yaml:2 needs it as "
                  "{class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}."),
    "a module": ("zoo.CausalLM", "my_lba.FocalLM",
                 "model: there is no module my_lba here, nor is one installed at c.yaml:2; did you mean my_lab?"),
    "a class of one's own": ("zoo.CausalLM", "my_lab.FocaLM",
                             "model: my_lab (my_lab.py) has no class FocaLM at c.yaml:2; did you mean FocalLM?"),
    "an argument of one's own class": (
        "zoo.CausalLM\n  init_args:\n",
        "my_lab.FocalLM\n  init_args:\n    gama: 2\n",
        "unknown key model.gama at c.yaml:4; did you mean gamma?",
    ),
    "a type in one's own class": (
        "zoo.CausalLM\n  init_args:\n",
        "my_lab.FocalLM\n  init_args:\n    gamma: much\n",
        "model.gamma is 'much' at c.yaml:4; expected a number.",
    ),
    "a check of one's own class": (
        "zoo.CausalLM\n  init_args:\n",
        "my_lab.FocalLM\n  init_args:\n    gamma: -1\n",
        "model.gamma is -1 at c.yaml:4; 0 or more.",
    ),
    "a setting in a group": (
        "max_length: 8",
        "sampling: {topk: 3}",
        "unknown key model.sampling.topk at c.yaml:5; did you mean top_k?",
    ),
    "streaming": (
        "train: notes.txt",
        "train: notes.txt, streaming: true",
        "unknown key data.streaming at c.yaml:9; zoo copies a hub data set once and maps it into memory: leave it out (a part of it: data.limit).",
    ),
    "several at once": (
        "max_length: 8",
        "max_lenght: 8\n    dropout: much\n    schedule: cos",
        "unknown key model.max_lenght at c.yaml:5; did you mean max_length?\n"
        "zoo: model.dropout is 'much' at c.yaml:6; expected a number.\n"
        "zoo: model.schedule is 'cos' at c.yaml:7; did you mean cosine? One of cosine, linear, constant.",
    ),
}  # fmt: skip
ON_THE_LINE: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a command": (("fti",), 2, "there is no zoo fti; did you mean fit? zoo --help lists them."),
    "nothing to train": (
        ("fit",),
        2,
        "model and data not set: zoo fit --config configs/quickstart.yaml, say; zoo list shows the others.",
    ),
    "no file": (("fit", "--config", "cc.yaml"), 66, "--config cc.yaml: no such file; did you mean c.yaml?"),
    "a folder": (("fit", "--config", "configs"), 66, "--config configs is a folder; name a file in it, as configs/a.yaml."),
    "an empty file": (("fit", "--config", "empty.yaml"), 2, "--config empty.yaml is empty; zoo list shows configs to start from."),
    "a file of comments": (("fit", "--config", "comment.yaml"), 2, "--config comment.yaml is empty; zoo list shows configs to start from."),
    "a list": (("fit", "--config", "list.yaml"), 2, "--config list.yaml holds a list; expected sections: model, data, trainer."),
    "a text": (("fit", "--config", "text.yaml"), 2, "--config text.yaml holds the text 'hello'; expected sections: model, data, trainer."),
    "UTF-16": (("fit", "--config", "utf16.yaml"), 2, "--config utf16.yaml is UTF-16; save it as UTF-8."),
    "Latin-1": (("fit", "--config", "latin.yaml"), 2, "--config latin.yaml is not UTF-8 (line 1: byte 0xfc); save it as UTF-8."),
    "a checkpoint for a config": (("fit", "--config", "step=3.ckpt"), 2, "--config step=3.ckpt is no text file; expected YAML."),
    "a tab": ((*C, "--config", "tab.yaml"), 2, "tab.yaml:2 is indented with a tab; YAML wants spaces."),
    "a key twice": ((*C, "--config", "twice.yaml"), 2, "max_epochs stands twice in twice.yaml: lines 2 and 3."),
    "a second colon": ((*C, "--config", "colon.yaml"), 2,
                       "colon.yaml:1: a second colon, or more indented than the line above: 'trainer: max_epochs: 1'."),
    "a bracket": ((*C, "--config", "unclosed.yaml"), 2, "unclosed.yaml:1: the { is not closed, or a comma is missing."),
    "a colon without a space": ((*C, "--config", "space.yaml"), 2,
                                "trainer is the text 'max_epochs:1' at space.yaml:1; a colon wants a space behind it."),
    "a callback's argument in an overlay": (
        (*C, "--config", "stop.yaml"), 2, "unknown key trainer.callbacks[0].decai at stop.yaml:4; did you mean decay?"),
    "a callback in an overlay": (
        (*C, "--config", "stop2.yaml"), 2, "trainer.callbacks[0]: lightning.pytorch.callbacks has no class EarlyStoping at "
        "stop2.yaml:3; did you mean lightning.pytorch.callbacks.EarlyStopping?"),
    "a flag": ((*C, "--trainer.max_epohs", "2"), 2, "unknown flag --trainer.max_epohs; did you mean --trainer.max_epochs?"),
    "a flag's section": ((*C, "--trainr.max_epochs", "2"), 2, "unknown flag --trainr.max_epochs; did you mean --trainer.max_epochs?"),
    "a flag without its section": ((*C, "--batch_size", "2"), 2, "unknown flag --batch_size; did you mean --data.batch_size?"),
    "a section's flag": ((*C, "--modle", "x"), 2, "unknown flag --modle; did you mean --model?"),
    "a flag of an optimizer": ((*C, "--model.optimizer.lrr", "1"), 2,
                               "unknown flag --model.optimizer.lrr; did you mean --model.optimizer.lr?"),
    "a flag without value": ((*C, "--trainer.max_epochs"), 2, "--trainer.max_epochs needs a value: a whole number or null."),
    "a flag's type": ((*C, "--trainer.max_epochs", "x"), 2, "trainer.max_epochs is 'x'; expected a whole number or null."),
    "a flag's range": ((*C, "--data.batch_size", "-3"), 2, "data.batch_size is -3; a whole number from 1."),
    "a config without --config": (("fit", "c.yaml"), 2, "c.yaml belongs to no flag; did you mean --config c.yaml?"),
    "a word too many": ((*C, "now"), 2, "'now' belongs to no flag."),
    "no data": ((*C, "--data.train", "note.txt"), 66, "data.train: note.txt: no such file; did you mean notes.txt?"),
    "no folder": ((*C, "--data.train", "./pictures"), 66, "data.train: ./pictures: no such file or folder."),
    "no weights": ((*C, "--model.pretrained", "./gpt2"), 66, "model.pretrained: ./gpt2: no such file or folder."),
    "no card": ((*C, "--trainer.accelerator", "gpu"), 2, "trainer.accelerator is 'gpu', and this machine shows no card; "
                "set auto or cpu. zoo doctor says what it found."),
    "no run to go on with": (("fit", "--resume"), 66, "no run yet in runs. Start one with zoo fit."),
    "no run to test": (("test", "--run", "gpt3"), 66, "--run gpt3: no such run. Start one with zoo fit."),
    "a name with folders": ((*C, "--name", "a/b"), 2, "--name 'a/b': a plain name, without folders."),
    "a run for fit": ((*C, "--run", "x"), 2, "zoo fit has no --run; to go on with a run: zoo fit --resume RUN."),
    "resume for test": (("test", "--resume"), 2, "zoo test has no --resume; to use a run: zoo test --run RUN."),
}  # fmt: skip


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a good config and some that are not."""
    for name, content in FILES.items():
        (here / name).write_bytes(content)
    (here / "c.yaml").write_text(CONFIG)
    (here / "my_lab.py").write_text(MY_LAB)
    (here / "configs").mkdir()
    (here / "configs" / "a.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(here)
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]  # of another test's folder
    return here


@pytest.mark.parametrize(("was", "typed", "lines"), IN_FILES.values(), ids=IN_FILES.keys())
def test_a_mistake_in_a_config_gets_its_lines(was: str, typed: str, lines: str, folder: Path, zoo_command: Any):
    assert CONFIG.count(was) == 1
    (folder / "c.yaml").write_text(CONFIG.replace(was, typed))
    assert zoo_command(*C) == (2, "", f"zoo: {lines}\n")


@pytest.mark.parametrize(("argv", "code", "line"), ON_THE_LINE.values(), ids=ON_THE_LINE.keys())
def test_a_mistake_on_the_command_line_gets_a_line(
    argv: tuple[str, ...], code: int, line: str, folder: Path, zoo_command: Any
):
    assert zoo_command(*argv) == (code, "", f"zoo: {line}\n")


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
