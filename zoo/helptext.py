"""Help: short, grouped, with an example, out of the schema."""
from collections.abc import Sequence


def overview() -> str:
    return ""


def command(name: str, flags: Sequence[str]) -> str:
    return ""
