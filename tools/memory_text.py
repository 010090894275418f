"""What the head and GPT-2's activation cost in memory: the peak of a training step before and after, by allocations.

    uv run python tools/memory_text.py

Counted are the bytes of all tensors alive, on a CPU, in the forward and backward pass of GPT-2 small's shape with four
layers; "under autocast" is bfloat16, which a CPU has too and which allocates as float16 does on a GPU.
"""

import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPT2Config

from zoo.loop.probe import CpuMeter
from zoo.models import head

LENGTH, SAMPLES = 1024, 2


def peak(chunked: bool, fused_activation: bool, autocast: bool) -> float:
    """MiB above what weights and their gradients take."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(GPT2Config(n_layer=4)).train()
    if fused_activation:
        head.fuse_activations(network)
    ids = torch.randint(0, 50257, (SAMPLES, LENGTH))
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    held = [t for p in network.parameters() for t in (p, p.grad)]
    with CpuMeter(held) as meter:
        before = meter.now
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if chunked:
                hidden = network.transformer(ids, use_cache=False)[0].flatten(0, 1)
                loss = head.summed_cross_entropy(hidden, network.lm_head.weight, None, ids.flatten())
            else:
                logits = network(ids, use_cache=False).logits
                loss = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="sum")
        (loss / ids.numel()).backward()
    return (meter.peak - before) / 2**20


def main() -> None:
    print(f"{SAMPLES} x {LENGTH} tokens, GPT-2 of 4 layers: MiB per step above weights and gradients")
    print("numbers | as transformers has it | gelu in one kernel | head in chunks | both")
    for autocast in (False, True):
        found = [peak(chunked, fused, autocast) for chunked, fused in ((0, 0), (0, 1), (1, 0), (1, 1))]
        print(" | ".join(["under autocast" if autocast else "32 bits", *(f"{mib:,.0f}" for mib in found)]))


if __name__ == "__main__":
    main()
