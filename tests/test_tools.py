import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(TOOLS.glob("*.py")), ids=lambda path: path.stem)
def test_every_tool_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = dict(os.environ)
    try:
        assert loaded(path, monkeypatch).__doc__
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_every_benchmark_is_among_all_of_them(monkeypatch: pytest.MonkeyPatch):
    every = {path.stem.removeprefix("bench_") for path in TOOLS.glob("bench_*.py")} - {"all"}
    assert loaded(TOOLS / "bench_all.py", monkeypatch).BENCHMARKS.keys() == every


def test_a_benchmark_that_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    tool = loaded(TOOLS / "bench_all.py", monkeypatch)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "bench_good.py").write_text("print('zoo is 1.1 times as fast')")
    (tmp_path / "tools" / "bench_bad.py").write_text("raise SystemExit('no such tokenizer')")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    said = ["\n".join(tool.section(name, tool.Benchmark(name), None)) for name in ("bad", "good")]
    assert "It failed: no such tokenizer" in said[0]
    assert "zoo is 1.1 times as fast" in said[1]
    assert "left out" in "\n".join(tool.section("good", tool.Benchmark("good", "--text {assets}/a.txt"), None))
