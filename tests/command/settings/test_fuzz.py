"""However broken a config or a command line is, it gets lines and an exit code, and soon."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parent.parent.parent.parent / "tools" / "fuzz_settings.py"


@pytest.fixture
def fuzz() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_settings", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_config_that_is_mutated_is_accepted(fuzz: Any, here: Path):
    (here / "a.txt").write_text("Once.\n")
    (here / "c.yaml").write_text(fuzz.GOOD)
    assert fuzz.answer(["fit", "--config", "c.yaml"]) == "accepted"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_typed_is_answered(seed: int, fuzz: Any, here: Path):
    (here / "a.txt").write_text("Once.\n")
    for text, argv in fuzz.cases(seed, 150):
        (here / "c.yaml").write_text(text, encoding="utf-8", newline="")
        try:
            fuzz.answer(argv)
        except (Exception, fuzz.TookLongError) as error:
            pytest.fail(f"{error!r}\n{argv}\n{text}")
