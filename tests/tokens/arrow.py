"""Encoded items as a data set, as the cache of a data module would give them back."""

from typing import Any

import datasets
import pyarrow as pa


def documents(items: list[dict[str, Any]], per_chunk: int = 4) -> datasets.Dataset:
    parts = [pa.Table.from_pylist(items[i : i + per_chunk]) for i in range(0, len(items), per_chunk)]
    return datasets.Dataset(pa.concat_tables(parts)).with_format("numpy")
