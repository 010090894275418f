"""The Hugging Face hub: is it reachable, and what to say when it is not."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import MissingInputError

_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@cache
def offline() -> bool:
    """Whether to look into the local cache only: asked for, or the hub does not answer within three seconds.

    The hub's own client tries for half a minute before it gives up, at every file.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return True
    if any(os.environ.get(name) for name in _PROXIES):  # a proxy answers for the hub
        return False
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=3).close()
    except OSError:
        return True
    return False


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn the many errors of loading `name` into one line that says what to do.

    Raises:
        MissingInputError: no such folder or repository, hub out of reach, or repository gated.
    """
    looks_local = name.startswith((".", "/", "~")) or Path(name).is_dir() or name.count("/") > 1
    if looks_local and not Path(name).is_dir():
        raise MissingInputError(f"{what} {name}: no such folder.")
    try:
        yield
    except (OSError, ConnectionError) as error:  # what transformers and datasets raise for all of these
        cause = _cause(error)
        if looks_local:
            raise MissingInputError(f"{what} {name}: the folder cannot be read as one ({cause}).") from error
        if "gated" in cause.lower() or "GatedRepo" in cause:
            raise MissingInputError(
                f"{what} {name} is gated. Accept its terms on its page of the hub, then log in: uv run hf auth login"
            ) from error
        if offline():
            raise MissingInputError(
                f"{what} {name} is not in the local cache, and the Hugging Face hub cannot be reached. "
                f"Connect once, or name a local folder."
            ) from error
        raise MissingInputError(
            f"{what} {name}: no local folder, and the hub has no such public repository ({cause}). Check the spelling."
        ) from error


@cache
def load_dataset(name: str, subset: str | None) -> Any:
    """All splits of a hub data set by their names, memory-mapped; the same object however often it is asked for.

    Raises:
        MissingInputError: as `explained`.
    """
    import datasets  # two seconds, which a network alone need not wait for

    with explained(name, "data set"):
        if offline():
            datasets.config.HF_HUB_OFFLINE = True
        return datasets.load_dataset(name, subset)


def stream_dataset(name: str, subset: str | None) -> Any:
    """All splits of a hub data set by their names, each read row by row over the network, in order.

    Raises:
        MissingInputError: as `explained`.
    """
    import datasets

    with explained(name, "data set"):
        return datasets.load_dataset(name, subset, streaming=True)


def _cause(error: BaseException) -> str:
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return f"{type(deepest).__name__}: {str(deepest).strip().splitlines()[0] if str(deepest) else ''}"
