"""By their endings: which files are texts, and which are tables."""

from collections.abc import Iterable
from pathlib import Path

PACKED = (".gz", ".zst")
TEXTS = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".py")
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
KINDS = (".txt", *TABLES)
"""Ways to read a file."""


def ending(path: Path) -> str:
    """In lower case; .jsonl for a.jsonl.gz too."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower()


def kind(path: Path) -> str:
    """The ending that says how to read a file: .txt for every text."""
    return ".txt" if ending(path) in TEXTS else ending(path)


def taken(paths: Iterable[Path]) -> list[Path]:
    """Those that are read of a folder: tables and .txt; other texts (README.md, setup.py) only if it has neither."""
    found = [path for path in paths if kind(path) in KINDS]
    return [path for path in found if ending(path) in KINDS] or found
