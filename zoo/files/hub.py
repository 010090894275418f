"""The Hugging Face hub: is it reachable, and what to say when it is not."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import ConfigError, DataError, MissingInputError, UserError

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


def is_cached(name: str) -> bool:
    """Whether a repository was downloaded to this machine, at least in part."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    return any((cache / f"models--{name.replace('/', '--')}" / "snapshots").glob("*/*"))


@contextmanager
def without_its_code(what: str) -> Iterator[None]:
    """Turn transformers' refusal of code that comes with a model, where `trust_remote_code` is False, into one line.

    Raises:
        ConfigError: it cannot be loaded without that code.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, UserError) or "trust_remote_code" not in str(error):
            raise
        raise ConfigError(
            f"{what} needs Python code that comes with it, and zoo runs no code from a model. "
            f"Name a model whose architecture is part of transformers."
        ) from error


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn the many errors of loading `name` into one line that says what to do.

    Raises:
        MissingInputError: no such folder or repository, hub out of reach, or repository gated.
        DataError: it is there, and cannot be read.
        ConfigError: it needs code of its own.
    """
    looks_local = name.startswith((".", "/", "~")) or Path(name).is_dir() or name.count("/") > 1
    if looks_local and not Path(name).is_dir():
        raise MissingInputError(f"{what} {name}: no such folder.")
    try:
        with without_its_code(f"{what} {name}"):
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
    except (UserError, MemoryError):
        raise
    except Exception as error:  # readers raise what they like for files that are cut off, or of another kind
        raise DataError(
            f"{what} {name}: its files are damaged, or of another kind than is wanted here ({_cause(error)}). "
            f"Download them again, or name another one."
        ) from error


@cache
def load_dataset(name: str, subset: str | None) -> Any:
    """All splits of a hub data set by their names, memory-mapped; the same object however often it is asked for.

    Raises:
        MissingInputError: as `explained`.
        DataError: it is there, but cannot be read.
    """
    return _loaded(name, subset)


def stream_dataset(name: str, subset: str | None) -> Any:
    """All splits of a hub data set by their names, each read row by row over the network, in order.

    Raises:
        MissingInputError, DataError: as `load_dataset`.
    """
    return _loaded(name, subset, streaming=True)


def _loaded(name: str, subset: str | None, **how: Any) -> Any:
    import datasets  # two seconds, which a network alone need not wait for

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()  # that a set comes from the cache is no warning
    with explained(name, "data set"):
        if offline():
            datasets.config.HF_HUB_OFFLINE = True
        try:
            return datasets.load_dataset(name, subset, **how)
        except (UserError, OSError):
            raise
        except Exception as error:  # builders raise what they like
            raise DataError(f"data set {name} cannot be read ({_cause(error)}). Is data.subset right?") from error


class Stored:
    """A split as it lies on the disk: media as files (`bytes` and `path`), not decoded, and classes by their names."""

    def __init__(self, split: Any):
        self._classes: dict[str, Any] = {}
        for name, feature in split.features.items():
            if hasattr(feature, "decode"):
                split = split.cast_column(name, type(feature)(decode=False))
            if type(feature).__name__ == "ClassLabel":
                self._classes[name] = feature.names
        self._split = split
        self.fingerprint: str = split._fingerprint

    @property
    def types(self) -> dict[str, Any]:
        """Arrow's type of each column."""
        import pyarrow as pa

        schema = self._split.data.schema
        return {name: pa.string() if name in self._classes else schema.field(name).type for name in schema.names}

    def column(self, name: str) -> Any:
        """A column of Arrow, memory-mapped, but for names of classes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._split.data.column(name)
        if name not in self._classes:
            return column
        known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(self._classes[name])))
        return pc.take(pa.array(self._classes[name], pa.string()), pc.if_else(known, column, None))

    def rows(self, names: list[str]) -> Iterator[dict[str, Any]]:
        labels = {name: self.column(name) for name in names if name in self._classes}
        for i, row in enumerate(self._split.select_columns(names)):
            yield {**row, **{name: column[i].as_py() for name, column in labels.items()}}


def _cause(error: BaseException) -> str:
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return f"{type(deepest).__name__}: {str(deepest).strip().splitlines()[0] if str(deepest) else ''}"
