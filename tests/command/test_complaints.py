"""What only the parser can tell, in one line."""

from pathlib import Path
from typing import Any

import pytest
from config_text import CONFIG

from zoo.command.lightning_cli import main

LAB = """\
import zoo
from zoo.errors import ConfigError


def made(name):
    def refuse(self, gamma: int = 1, **kwargs):
        raise ConfigError(f"model.gamma is {gamma}; this task wants none.")

    return type(name, (zoo.CausalLM,), {"__init__": refuse, "__module__": __name__})


Made = made("Made")
"""


@pytest.fixture
def config(here: Path, monkeypatch: pytest.MonkeyPatch, text_file: Path) -> Path:
    monkeypatch.syspath_prepend(here)
    (here / "made_lab.py").write_text(LAB)
    (here / "c.yaml").write_text(CONFIG.replace("notes.txt", str(text_file)))
    return here / "c.yaml"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--model", "made_lab.Made", "--model.gama", "1"], "unknown flag --model.gama; did you mean --model.gamma?"),
        (["--model", "made_lab.Made", "--model.gamma", "x"], "model.gamma is 'x'; expected a whole number."),
        (["--model", "made_lab.Mode"], "model: Type"),
        (["--trainer.max_epohs", "2"], "unknown flag --trainer.max_epohs; did you mean --trainer.max_epochs?"),
        (["--model", "made_lab.Made"], "model.gamma is 1; this task wants none."),
        (["--trainer.accelerator", "abacus"], "trainer: "),
        (["--trainer.accelerator", "cpu", "--trainer.devices", "[0, 5]"], "trainer: "),
        (["--trainer.devices", "0"], "trainer: "),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_comes_after_the_imports_is_one_line(flags: list[str], line: str, config: Path, capsys: Any):
    code = main(["fit", "--config", str(config), *flags])
    complaint = capsys.readouterr().err
    assert code == 2
    assert complaint.startswith("zoo: ")
    assert line.partition("Type")[0] in complaint
    assert len(complaint.splitlines()) == 1


def test_debugging_shows_the_traceback(config: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_DEBUG", "1")
    with pytest.raises(ValueError):
        main(["fit", "--config", str(config), "--model", "made_lab.Made"])


def test_a_mistake_in_the_data_leaves_no_run_behind(here: Path, zoo_command: Any, tiny_gpt2: Path):
    Path("a.csv").write_text("txet\nhello\n")
    Path("c.yaml").write_text(CONFIG.replace("gpt2", str(tiny_gpt2)).replace("notes.txt", "a.csv"))
    assert zoo_command("fit", "--config", "c.yaml")[0] == 65
    assert not Path("runs").exists()
