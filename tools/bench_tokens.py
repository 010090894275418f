"""How fast zoo turns texts into cached tokens, beside `datasets.map` with as many processes as there are cores.

    uv run python tools/bench_tokens.py --text tinyshakespeare.txt --tokenizer gpt2

The text is repeated, each time a little different, as lines and as one document. Baselines take turns.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
from transformers import AutoTokenizer

from zoo.loading import items
from zoo.samples import TextSample
from zoo.tokens.processors import TokenProcessor


def zoo(texts: list[str], tokenizer: Any, folder: Path) -> int:
    samples = [TextSample(text) for text in texts]
    os.environ["ZOO_CACHE"] = str(folder)
    written = items.kept(TokenProcessor(tokenizer, 512, 512), samples, "of this round")
    return sum(chunk.value_lengths().to_numpy().sum() for chunk in written.data.column("input_ids").chunks)


def mapped(texts: list[str], tokenizer: Any, folder: Path) -> int:
    def tokens(rows: dict[str, list[str]]) -> dict[str, Any]:
        return {"input_ids": [[*ids, tokenizer.eos_token_id] for ids in tokenizer(rows["text"])["input_ids"]]}

    table = datasets.Dataset.from_dict({"text": texts})
    cores = min(os.cpu_count() or 1, len(texts))
    done = table.map(tokens, batched=True, num_proc=cores, remove_columns=["text"], load_from_cache_file=False)
    done.save_to_disk(str(folder / "mapped"))
    return sum(chunk.value_lengths().to_numpy().sum() for chunk in done.data.column("input_ids").chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    whole = [f"{i} {args.text.read_text('utf-8')}" for i in range(args.repeats)]
    lines = [line for text in whole for line in text.splitlines() if line.strip()]
    print("texts | baseline | million tokens | tokens/s, median | zoo is faster by")
    for name, texts in (("lines", lines), ("documents of a megabyte", whole), ("one document", ["\n".join(whole)])):
        seconds: dict[str, list[float]] = {"zoo": [], "datasets.map": []}
        counts = {}
        for _ in range(args.rounds):
            for baseline, work in (("zoo", zoo), ("datasets.map", mapped)):
                with tempfile.TemporaryDirectory() as folder:
                    start = time.perf_counter()
                    counts[baseline] = int(work(texts, tokenizer, Path(folder)))
                    seconds[baseline].append(time.perf_counter() - start)
        for baseline, taken in seconds.items():
            ratio = statistics.median(b / a for a, b in zip(seconds["zoo"], taken, strict=True))
            rate = counts[baseline] / statistics.median(taken)
            print(f"{name} | {baseline} | {counts[baseline] / 1e6:.2f} | {rate:,.0f} | {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
