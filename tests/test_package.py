"""What a stranger finds who looks at the package before they install it."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)


def test_the_constraints_pin_every_dependency_within_its_bounds():
    outside = {
        need.name: PINNED.get(need.name)
        for need in map(Requirement, PROJECT["dependencies"])
        if need.name not in PINNED or Version(PINNED[need.name]) not in need.specifier
    }
    assert outside == {}


def test_the_citation_is_of_this_version():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited
    assert cited[1] == PROJECT["version"]


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "zoo" / "py.typed").is_file()
