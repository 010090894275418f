"""How long 200 MB of text take to be read: TextData against datasets.load_dataset, first and second start.

    python tools/bench_text_reading.py

Each number is of a process of its own: seconds without imports, and the peak of its memory above that after imports.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGABYTES = 200
KINDS = ("txt", "jsonl", "csv")


def write(folder: Path) -> None:
    line = "The {}th fox jumps over {} lazy dogs, and then sleeps for days, as foxes in such sentences do für “immer”."
    lines = [line.format(i, i * i) for i in range(10_000)]
    made: dict[str, Callable[[str], str]] = {
        "txt": str,
        "jsonl": lambda text: json.dumps({"id": 1, "text": text}, ensure_ascii=False),
        "csv": lambda text: f'1,"{text}"',
    }
    for kind, as_row in made.items():
        block = "".join(f"{as_row(one)}\n" for one in lines).encode()
        with open(folder / f"a.{kind}", "wb") as file:
            file.write(b"id,text\n" if kind == "csv" else b"")
            for _ in range(MEGABYTES * 2**20 // len(block)):
                file.write(block)


def main() -> None:
    if len(sys.argv) > 1:
        one(*sys.argv[1:])
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for kind in KINDS:
            for reader in ("datasets", "zoo"):
                for start in ("first", "second"):
                    caches = {"ZOO_CACHE": f"{folder}/zoo", "HF_HOME": f"{folder}/hf", "HF_HUB_OFFLINE": "1"}
                    command = [sys.executable, __file__, reader, f"{folder}/a.{kind}"]
                    said = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, check=True)
                    print(f"{kind:6} {reader:9} {start:7} {said.stdout.strip()}", flush=True)


def one(reader: str, path: str) -> None:
    import datasets

    import zoo

    kind = {"txt": "text", "jsonl": "json", "csv": "csv"}[path.rpartition(".")[2]]
    data = zoo.TextData(train=path, validation=path, documents="lines")
    before, begin = peak(), time.perf_counter()
    if reader == "zoo":
        samples: Any = data.samples("train")
        read = time.perf_counter()
        samples.digest()
        said = f"{len(samples):,} rows, hash {time.perf_counter() - read:.2f} s"
    else:
        table = datasets.load_dataset(kind, data_files=path, split="train")
        read = time.perf_counter()
        said = f"{len(table):,} rows"
    print(f"{read - begin:.2f} s, {peak() - before:.0f} MiB, {said}")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
