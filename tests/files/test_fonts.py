from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from zoo.classification.report import confusion_plot
from zoo.files import fonts
from zoo.images.drawing import mosaic

SCRIPTS = {"Devanagari": "बिल्ली", "Arabic": "قطة", "Chinese": "猫", "Cyrillic": "собака", "Latin": "cat", "Thai": "ไก่"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with no font but matplotlib's own."""
    folder = Path(mpl.get_data_path())
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [])
    inside = [font for font in font_manager.fontManager.ttflist if Path(font.fname).is_relative_to(folder)]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", inside)
    fonts._families.cache_clear()
    fonts._said.clear()
    yield
    fonts._families.cache_clear()
    fonts._said.clear()


def drawn_by(families: list[str]) -> set[str]:
    """Characters that these fonts have a glyph for, by matplotlib's own account."""
    paths = [font_manager.findfont(family) for family in families]
    assert not [path for path in paths if "LastResort" in path]
    return {chr(code) for path in paths for code in FT2Font(path).get_charmap()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_character_that_is_drawn_has_a_glyph(script: str):
    texts, style = fonts.lettering([SCRIPTS[script], "97 %"])
    assert {c for c in "".join(texts) if fonts._has_glyph(c)} <= drawn_by(style["fontfamily"])
    assert texts[1] == "97 %"


@pytest.mark.parametrize("script", SCRIPTS)
def test_so_it_has_where_there_is_no_font_for_it(script: str, bare: None, capsys: pytest.CaptureFixture[str]):
    name = SCRIPTS[script]
    texts, style = fonts.lettering([name, "cat"])
    assert {*"".join(texts)} <= drawn_by(style["fontfamily"])
    assert texts[1] == "cat"
    is_spelt = script in ("Devanagari", "Chinese", "Thai")
    assert (texts[0] != name) == is_spelt
    assert texts[0].isascii() or not is_spelt
    said = capsys.readouterr().err
    assert said.count("\n") == is_spelt
    assert ("fonts-noto-cjk" in said) == (script == "Chinese")


def test_a_spelling_can_be_read_and_is_told_once(bare: None, capsys: pytest.CaptureFixture[str]):
    for _ in range(2):
        assert fonts.lettering(["बिल्ली", "猫"])[0] == ["billi", "Mao"]
    assert capsys.readouterr().err.count("no font here has") == 1


@pytest.mark.parametrize("name", ["cost $5", "$x^2$", "a\nb", "", "क\u200dष", "\u200b"])
def test_a_name_is_drawn_as_it_is_whatever_is_in_it(name: str, tmp_path: Path):
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2
    assert mosaic(images, [name, "b"], tmp_path / "mosaic.png").is_file()
    assert confusion_plot(torch.eye(2), [name, "b"], tmp_path / "confusion.png").is_file()
