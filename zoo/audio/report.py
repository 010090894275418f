"""The worst utterances of a test for people: what was said above what was heard, as text and as a page in colours."""

import html
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len

from zoo.audio.measures import Heard, aligned
from zoo.audio.normalise import Normaliser
from zoo.files.paths import write_text

_STYLE = """body { font-family: system-ui, sans-serif; max-width: 60em; margin: 2em auto; line-height: 1.4 }
h2 { font-size: 1em; margin: 1.6em 0 .3em } td { padding: 0 .35em; text-align: center; white-space: nowrap }
table { border-collapse: collapse; display: block; overflow-x: auto } th { text-align: left; color: #666 }
.replace { background: #ffe3a3 } .delete { background: #ffc9c9 } .insert { background: #c5dcff }"""
_LEGEND = (
    '<p><span class="replace">heard as another word</span> <span class="delete">not heard</span> '
    '<span class="insert">heard, but not said</span></p>'
)


def worst(ranked: Sequence[tuple[int, Heard]], normalise: Normaliser, folder: Path) -> list[Path]:
    """worst.txt and worst.html, if there is anything to show."""
    if not ranked:
        return []
    return [
        worst_text(ranked, normalise, folder / "worst.txt"),
        worst_page(ranked, normalise, folder / "worst.html"),
    ]


def worst_text(worst: Sequence[tuple[int, Heard]], normalise: Normaliser, path: Path) -> Path:
    """Each utterance in three lines, the words of both texts below each other; a missing word is ***."""
    parts = []
    for wrong, one in worst:
        said, got = "said ", "heard"
        for tag, left, right in aligned(normalise(one.reference), normalise(one.hypothesis)):
            left, right = (word if tag == "equal" else word.upper() for word in (left or "***", right or "***"))
            width = max(map(cell_len, (left, right)))
            said += " " + left + " " * (width - cell_len(left))
            got += " " + right + " " * (width - cell_len(right))
        parts.append(f"{_headline(wrong, one)}\n{said.rstrip()}\n{got.rstrip()}\n")
    write_text(path, "\n".join(parts))
    return path


def worst_page(worst: Sequence[tuple[int, Heard]], normalise: Normaliser, path: Path) -> Path:
    """HTML: each utterance as a table of two rows, with what differs in colours."""
    parts = [f"<!doctype html>\n<meta charset='utf-8'>\n<title>Worst utterances</title>\n<style>{_STYLE}</style>"]
    parts += ["<h1>Worst utterances</h1>", _LEGEND]
    for wrong, one in worst:
        rows = aligned(normalise(one.reference), normalise(one.hypothesis))
        said = "".join(f'<td class="{tag}">{html.escape(left)}</td>' for tag, left, _ in rows)
        got = "".join(f'<td class="{tag}">{html.escape(right)}</td>' for tag, _, right in rows)
        parts.append(f"<h2>{html.escape(_headline(wrong, one))}</h2>")
        parts.append(f"<table><tr><th>said</th>{said}</tr><tr><th>heard</th>{got}</tr></table>")
    write_text(path, "\n".join(parts) + "\n")
    return path


def _headline(wrong: int, one: Heard) -> str:
    ended = "" if one.finished else ", never stopped"
    return f"{one.name}: {wrong} wrong word{'s' * (wrong != 1)}, {one.seconds:.1f} s{ended}"
