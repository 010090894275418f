"""A few of the changes that tools/fuzz_readers.py makes by the thousand."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

FUZZ = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "tools" / "fuzz_readers.py")))


@pytest.mark.parametrize("kind", FUZZ.KINDS)
def test_a_changed_file_is_read_or_refused_in_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    found = FUZZ.fuzz(kind, 40, 1, tmp_path)
    assert set(found) <= {"read", "refused"}
    assert found["read"] > 0
