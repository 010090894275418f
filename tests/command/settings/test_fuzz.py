"""However broken a config or a command line is, it gets lines and an exit code, and soon."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

FUZZ = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[3] / "tools" / "fuzz_settings.py")))


def test_the_config_that_is_mutated_is_accepted(here: Path):
    (here / "a.txt").write_text("Once.\n")
    (here / "c.yaml").write_text(FUZZ.GOOD)
    assert FUZZ.answer(["fit", "--config", "c.yaml"]) == "accepted"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_typed_is_answered(seed: int, here: Path):
    (here / "a.txt").write_text("Once.\n")
    for text, argv in FUZZ.cases(seed, 150):
        (here / "c.yaml").write_text(text, encoding="utf-8", newline="")
        try:
            FUZZ.answer(argv)
        except (Exception, FUZZ.TookLongError) as error:
            pytest.fail(f"{error!r}\n{argv}\n{text}")
