"""What a stranger finds who looks at the package before they install it."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked: all that a user who has no clone has."""
    built, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(site)
    return site


def installed(site: Path, folder: Path, *arguments: str) -> str:
    """What zoo of the wheel says in a folder of the user's own."""
    command = [sys.executable, "-m", "zoo", *arguments]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_wheel_has_every_config(site: Path):
    inside = {path.relative_to(site / "zoo" / "configs") for path in (site / "zoo" / "configs").rglob("*.yaml")}
    assert inside == {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert inside


def test_an_installed_zoo_lists_and_finds_its_configs_from_an_empty_folder(site: Path, tmp_path: Path):
    listed = installed(site, tmp_path, "list")
    assert {"quickstart", "overlays/early_stopping"} <= {*listed.split()}
    overlay = ("--config", "overlays/early_stopping.yaml")
    printed = installed(site, tmp_path, "fit", "--config", "quickstart", *overlay, "--print_config")
    assert "n_embd: 128" in printed
    assert "EarlyStopping" in printed


def test_an_installed_zoo_writes_a_copy_of_a_config(site: Path, tmp_path: Path):
    installed(site, tmp_path, "init", "quickstart")
    copy = (tmp_path / "quickstart.yaml").read_text().splitlines()
    assert copy[1:] == (ROOT / "configs" / "quickstart.yaml").read_text().splitlines()[1:]
    assert Path(copy[0].partition("$schema=")[2]) == site / "zoo" / "command" / "schema.json"
