"""How fast packed documents are attended to, each by itself, beside the same through a mask over the sequence.

    python tools/bench_documents.py [--threads 2] [--rounds 5]

Forward and backward of a Llama of 4 layers of 256 without its head, two sequences a step. Both sides have the same
weights and documents, whose lengths are drawn as those of paragraphs are (log-normal, 150 tokens in the median), and
take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from transformers import AutoConfig, AutoModel

from zoo.models import documents

ROWS = 2
SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{asked.threads} threads, torch {torch.__version__}, transformers {version('transformers')}")
    print("tokens of a sequence | with a mask, ms | by documents, ms | ratio\n---|---|---|---")
    for length in (256, 512, 1024, 2048):
        masked, apart = medians(length, asked.rounds)
        print(f"{length:,} | {masked:.0f} | {apart:.0f} | {masked / apart:.2f}", flush=True)


def medians(length: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of a step with a mask, and by documents."""
    torch.manual_seed(0)
    network = AutoModel.from_config(AutoConfig.for_model("llama", vocab_size=1000, **SIZES), dtype=torch.float32)
    positions = torch.stack([row(length) for _ in range(ROWS)])
    ids, bounds = torch.randint(0, 1000, (ROWS, length)), documents.bounds(positions)
    assert documents.adopt(network)

    def step(mask: torch.Tensor | None) -> None:
        network(ids, position_ids=positions, attention_mask=mask, use_cache=False)[0].square().sum().backward()

    times: dict[str, list[float]] = {"mask": [], "documents": []}
    for _ in range(rounds + 1):
        times["mask"].append(milliseconds(lambda: step(None)))
        times["documents"].append(milliseconds(lambda: step(bounds)))
    return statistics.median(times["mask"][1:]), statistics.median(times["documents"][1:])


def row(length: int) -> torch.Tensor:
    """[length]: positions of documents that fill a sequence."""
    parts, left = [], length
    while left:
        size = min(left, max(2, int(150 * torch.randn(()).mul(0.8).exp())))
        parts.append(torch.arange(size))
        left -= size
    return torch.cat(parts)


def milliseconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
