"""The tool that runs all attacks: it calls tools that are there, and says of each whether it held."""

import runpy
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
TOOL = runpy.run_path(str(TOOLS / "attack.py"))


def test_every_attack_is_a_tool_that_takes_its_option():
    for tool, _ in TOOL["ATTACKS"].values():
        name, option = tool.split()
        assert f'"{option}"' in (TOOLS / name).read_text()


@pytest.mark.parametrize(("body", "held"), [("", "yes"), ("sys.exit(3)", "**no** (exit 3)")])
def test_the_table_says_whether_a_tool_ended_well_and_its_output_is_kept(
    tmp_path: Path, body: str, held: str, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "fake.py").write_text(f"import sys; print(sys.argv[1:]); {body}")
    attack, table = TOOL["attack"], TOOL["table"]
    monkeypatch.setitem(attack.__globals__, "TOOLS", tmp_path)
    monkeypatch.setitem(TOOL["ATTACKS"], "faked", ("fake.py --times", 50))
    outcome = attack("faked", 0.1, tmp_path)
    assert table([outcome])[-1] == f"| faked | `python tools/fake.py --times 5` | {held} | 0 |"
    assert (tmp_path / "fake.txt").read_text() == "['--times', '5']\n"
