"""The site builds without a warning and without fetching anything."""

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT

from zoo import errors

REFERENCE = runpy.run_path(str(ROOT / "tools" / "reference.py"))
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: uv sync --group docs"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_mkdocs
def test_the_site_builds_strictly(site: Path):
    assert (site / "index.html").is_file()


@needs_mkdocs
def test_no_page_fetches_anything_from_elsewhere(site: Path):
    fetched = re.compile(
        r'<(?:script|img|iframe)[^>]*\ssrc="?(https?:)?//|<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*//'
    )
    pages = [*site.rglob("*.html")]
    assert len(pages) > 5
    assert [page.name for page in pages if fetched.search(page.read_text("utf-8"))] == []
    assert [sheet.name for sheet in site.rglob("*.css") if re.search(r"url\(['\"]?https?:", sheet.read_text())] == []


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_the_reference_is_what_its_tool_writes(name: str):
    assert (ROOT / "docs" / name).read_text() == REFERENCE["PAGES"][name]()


def test_every_exit_code_is_documented():
    page = next(page for page in PAGES if page.path.stem == "exit_codes").text
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert [code for code in codes if f"| {code} |" not in page] == []
