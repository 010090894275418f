"""The classes of a classifier: their names and order, learned from samples, and held against other samples."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from zoo.errors import DataError
from zoo.samples import Split

_FEW = 6


def of_samples(samples: Sequence[Any], noun: str, remedy: str) -> list[str]:
    """The classes of training samples, in an order that depends on nothing but their names: 10 comes after 9.

    Args:
        samples: with a `label`.
        noun: what the samples are, in the plural.
        remedy: what to do where samples have no class.

    Raises:
        DataError: a sample has no class, or all have the same.
    """
    labels = [sample.label for sample in samples]
    if without := labels.count(None):
        first = samples[labels.index(None)]
        example = str(getattr(first, "text", first))[:60]
        raise DataError(f"data.train: {without:,} of {len(labels):,} {noun} have no class ({example}). {remedy}")
    names = in_order(map(str, labels))
    if len(names) < 2:
        raise DataError(f"data.train has only one class ({', '.join(names)}); there is nothing to tell apart.")
    return names


def check(samples: Iterable[Any], known: Sequence[str], split: Split, noun: str) -> None:
    """Refuse classes that the model does not know, in all data but that to predict.

    Raises:
        DataError: a sample has another class than the known ones, or none.
    """
    if split == "predict":
        return
    found = {sample.label for sample in samples}
    if unknown := sorted(map(str, found - set(known))):
        raise DataError(
            f"data.{split} has {some(unknown)}, which the model does not know; its {len(known)} classes are "
            f"{some(known)}. " + (f"Give every {noun} a class." if None in found else "Use data with the same classes.")
        )


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, by the alphabet, but numbers in them by their size."""
    return sorted(set(names), key=_by_number)


def some(names: Sequence[str]) -> str:
    """The first few of the names."""
    return ", ".join(map(repr, names[:_FEW])) + (f" … ({len(names)} in all)" if len(names) > _FEW else "")


def _by_number(name: str) -> list[Any]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
