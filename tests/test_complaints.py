"""Mistakes in configs and flags, each answered by one line that helps."""

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
  init_args: {train: a.txt}
trainer: {max_epochs: 1}
"""


@pytest.mark.parametrize(
    ("was", "typed", "says"),
    [
        ("max_length", "max_lenght", "unknown key model.max_lenght at c.yaml:5; did you mean max_length?"),
        ("max_epochs", "max_epoch", "unknown key trainer.max_epoch at c.yaml:10; did you mean trainer.max_epochs?"),
        ("trainer:", "trianer:", "unknown key trianer.max_epochs at c.yaml:10; did you mean trainer.max_epochs?"),
        ("max_length: 8", "max_length: eight", "model.max_length at c.yaml:5: expected int. Got value: eight."),
        ("lr: 0.001", "lr: 0.001, wd: 1", "unknown key model.optimizer.wd at c.yaml:6."),
        ("AdamW", "AdamWW", "module 'torch.optim' has no attribute 'AdamWW'; did you mean AdamW?"),
        ("zoo.TextData", "zoo.TextDat", "module 'zoo' has no attribute 'TextDat'; did you mean TextData?"),
        ("zoo.CausalLM", "nowhere.CausalLM", "No module named 'nowhere'"),
        ("{train: a.txt}", "{train: a.txt", "Problems parsing config"),
        (
            "{train: a.txt}",
            "{train: a.txt, streaming: true}",
            "unknown key data.streaming at c.yaml:9: training reads no",
        ),
        ("max_epochs: 1", "max_epochs: 1, precision: 17-mixed", "trainer.precision at c.yaml:10: expected"),
    ],
)
def test_a_mistake_in_a_config_gets_a_line(was: str, typed: str, says: str, here: Path, zoo_command: Any):
    assert was in CONFIG
    Path("c.yaml").write_text(CONFIG.replace(was, typed))
    code, _, complaint = zoo_command("fit", "--config", "c.yaml")
    assert code == 2
    assert complaint.startswith("zoo: ")
    assert says in complaint
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["fit", "--config", "cc.yaml"], 66, "--config cc.yaml: no such file; did you mean c.yaml."),
        (
            ["fit", "--config", "c.yaml", "--trainer.max_epohs", "2"],
            2,
            "unknown flag --trainer.max_epohs; did you mean trainer.max_epochs?",
        ),
        (["fit", "--config", "c.yaml", "--trainer.max_epochs", "x"], 2, "trainer.max_epochs: expected int; found 'x'."),
        (["fit", "--config", "c.yaml", "--modle", "x"], 2, "unknown flag --modle; did you mean model?"),
        (["fit", "--config", "c.yaml", "--data.train", "nope.txt"], 66, "data.train: nope.txt: no such file"),
        (["fit", "--config", "c.yaml"], 66, "data.train: a.txt: no such file"),
        (["fit", "--resume"], 66, "no run yet in runs. Start one with zoo fit."),
        (["test"], 66, "no run yet in runs"),
        (["test", "--run", "gpt3"], 66, "--run gpt3: no such run"),
        (["fit", "--config", "c.yaml", "--name", "a/b"], 2, "--name 'a/b': a plain name"),
        (["fit", "--config", "c.yaml", "--run", "x"], 2, "zoo fit has no --run; to go on with a run"),
        (["test", "--resume"], 2, "zoo test has no --resume"),
        (["fti"], 2, "there is no zoo fti; one of fit, validate, test, predict."),
    ],
)
def test_a_mistake_on_the_command_line_gets_a_line(
    flags: list[str], code: int, says: str, here: Path, zoo_command: Any, tiny_gpt2: Path
):
    Path("c.yaml").write_text(CONFIG.replace("gpt2", str(tiny_gpt2)))
    if "--name" in flags:
        Path("a.txt").write_text("some words\n" * 99)
    found, _, complaint = zoo_command(*flags)
    assert says in complaint
    assert found == code
    assert len(complaint.splitlines()) == 1


def test_a_mistake_in_the_data_leaves_no_run_behind(here: Path, zoo_command: Any, tiny_gpt2: Path):
    Path("c.yaml").write_text(CONFIG.replace("gpt2", str(tiny_gpt2)))
    assert zoo_command("fit", "--config", "c.yaml")[0] == 66
    assert not Path("runs").exists()
