"""Rows of separated values, with quotes as their writer meant them."""

import csv
from collections.abc import Iterable
from typing import Any

_COMMON_VOICE = {"client_id", "path", "sentence"}


def reader(lines: Iterable[str], separator: str, header: str) -> Any:
    """A reader of the csv module, for which quotes are characters as others where a table has Common Voice's columns:
    it puts none around its sentences, and leaves those that they have.

    Args:
        header: the first of the lines.
    """
    if set(header.strip("\ufeff\r\n").split("\t")) >= _COMMON_VOICE:
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=separator, strict=True)
