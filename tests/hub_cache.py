"""A prepared local cache: what the hub would have put on this disk, with tiny networks under the real names."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets

COMMIT = "0" * 40


def put_model(name: str, save: Callable[[Path], Any]) -> None:
    """Let `save` write a Hugging Face folder where the hub's client looks for the repository `name`."""
    repository = Path(os.environ["HF_HOME"]) / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    save(snapshot)


def put_dataset(name: str, subset: str, splits: dict[str, list[str]]) -> None:
    """Rows of texts, as the data set's builder leaves them in the cache."""
    texts = {split: [{"text": row} for row in rows] for split, rows in splits.items()}
    put_rows(name, subset, texts, datasets.Features({"text": datasets.Value("string")}))


def put_rows(name: str, subset: str, splits: dict[str, list[dict[str, Any]]], features: datasets.Features) -> None:
    """Rows of any kind, likewise. Images are {"bytes": content of a file, "path": None}."""
    owner, _, short = name.partition("/")
    folder = Path(os.environ["HF_HOME"]) / "datasets" / f"{owner}___{short}" / subset / "0.0.0" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    infos = {}
    for split, rows in splits.items():
        writer = datasets.arrow_writer.ArrowWriter(path=str(folder / f"{short}-{split}.arrow"), features=features)
        for row in rows:
            writer.write(row)
        examples, size = writer.finalize()
        infos[split] = {"name": split, "num_bytes": size, "num_examples": examples, "dataset_name": short}
    info = {
        "builder_name": "parquet", "config_name": subset, "dataset_name": short, "version": "0.0.0", "splits": infos,
        "features": features.to_dict(),
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(info))
