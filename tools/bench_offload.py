"""What it would buy and cost to move activations or the optimizer's state to the computer's memory. Without a GPU.

    python tools/bench_offload.py

GPT-2 (124M) with random weights, bf16 autocast, head in chunks: one forward and backward pass on the CPU. The meter
counts the bytes that a GPU would hold; what is moved away is not counted, and counted as traffic each way. The time
that the traffic takes is reckoned from the bus, and assumes that nothing of it is hidden behind computing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from zoo.loop import probe
from zoo.models import head
from zoo.models import pretrained as hf

SAMPLES, LENGTH = 2, 512
BUS = 25e9
"""Bytes a second, from pinned memory over 16 lanes of PCIe 4.0, of 31.5 in theory."""


class Card(probe.CpuMeter):
    """Counts what is made while `counting`."""

    counting = True
    moved = 0

    def _add(self, tensor: Tensor) -> None:
        if self.counting:
            super()._add(tensor)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        self.counting = False
        yield
        self.counting = True


def offloaded(card: Card, weights: set[int]) -> saved_tensors_hooks:
    """As torch's save_on_cpu, but for weights, which stay on the GPU anyway."""

    def pack(tensor: Tensor) -> Any:
        if tensor.untyped_storage().data_ptr() in weights or tensor.numel() < 1024:
            return tensor, False
        with card.elsewhere():
            away = tensor.detach().clone()
        card.moved += away.nbytes
        return away, True

    def unpack(packed: Any) -> Tensor:
        tensor, away = packed
        if not away:
            return tensor
        card.moved += tensor.nbytes
        return tensor.clone()

    return saved_tensors_hooks(pack, unpack)


def measured(checkpointing: bool, offload: bool) -> tuple[int, int]:
    """Bytes at the peak beyond weights and gradients, and bytes moved."""
    torch.manual_seed(0)
    network = hf.build_causal_lm(hf.make_config({"model_type": "gpt2", "vocab_size": 50257}))
    network.train()
    if checkpointing:
        network.activation_checkpointing_enable()
    ids = torch.randint(0, 50257, (SAMPLES, LENGTH))
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    held = [*network.parameters(), *(p.grad for p in network.parameters()), *network.buffers()]
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    card = Card(held)
    before = card.now
    with card, torch.autocast("cpu", torch.bfloat16):
        if offload:
            with offloaded(card, weights):
                loss = total(network, ids)
        else:
            loss = total(network, ids)
        loss.backward()
    return card.peak - before, card.moved


def total(network: Any, ids: Tensor) -> Tensor:
    rows = network.base_model(input_ids=ids, use_cache=False)[0].flatten(0, 1)
    output = network.get_output_embeddings()
    return head.summed_cross_entropy(rows, output.weight, output.bias, ids.flatten())


def main() -> None:
    print(f"{SAMPLES} x {LENGTH} tokens; numbers for one sample")
    for checkpointing in (False, True):
        for offload in (False, True):
            peak, moved = (value / SAMPLES / 1e6 for value in measured(checkpointing, offload))
            name = f"{'checkpointing' if checkpointing else 'all kept'}{', offloaded' if offload else ''}"
            print(f"{name:26} peak {peak:6.0f} MB   moved {moved:6.0f} MB   {moved * 1e9 / BUS:6.1f} ms", flush=True)
    count = sum(p.numel() for p in hf.build_causal_lm(hf.make_config({"model_type": "gpt2"})).parameters())
    state = 8 * count
    print(f"AdamW's state {state / 1e6:.0f} MB, there and back at every step: {2 * state / BUS * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
