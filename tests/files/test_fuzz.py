"""A few of the changes that tools/fuzz_readers.py makes by the thousand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_readers", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = tool()


@pytest.mark.parametrize("kind", FUZZ.KINDS)
def test_a_changed_file_is_read_or_refused_in_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    found = FUZZ.fuzz(kind, 40, 1, tmp_path)
    assert set(found) <= {"read", "refused"}
    assert found["read"] > 0
