"""The last layer of a language model with its loss, a few rows at a time: the logits are the largest tensor of a step.

N rows · D features · V vocabulary
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN, NewGELUActivation

IGNORED = -100
_LOGITS_AT_ONCE = 2**24
"""64 MiB in 32 bits."""
_FUSED = getattr(F, "linear_cross_entropy", None)  # torch 2.13


def summed_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Cross-entropy of `hidden @ weight.T + bias`, summed over the targets, in 32 bits.

    In training the gradients are computed with the loss, chunk by chunk, by torch's linear_cross_entropy. In 16 bits it
    would round the sum to 16 bits and leave the range of float16, as no scaler has scaled yet; there, and in a torch
    that has no such function, the logits of a chunk are computed again in the backward pass.

    Args:
        hidden: [N, D].
        weight: [V, D].
        bias: [V] or None.
        targets: [N], IGNORED where there is none.
    """
    at_once = 1 << max(4, (_LOGITS_AT_ONCE // len(weight)).bit_length() - 1)
    if len(hidden) <= at_once:
        return _plain(hidden, weight, bias, targets)
    chunks = zip(hidden.split(at_once), targets.split(at_once), strict=True)
    if not torch.is_grad_enabled():
        return torch.stack([_plain(h, weight, bias, t) for h, t in chunks]).sum()
    if _FUSED is None or hidden.dtype != torch.float32 or torch.is_autocast_enabled(hidden.device.type):
        parts = [checkpoint(_uncached, h, weight, bias, t, use_reentrant=False) for h, t in chunks]
        return torch.stack(parts).sum()
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=at_once, chunking_method=None)
    return _FUSED(hidden, weight, targets, linear_bias=bias, reduction="sum", ignore_index=IGNORED, options=options)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of [N, V] logits, summed over the targets, in 32 bits."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def _plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return cross_entropy(F.linear(hidden, weight, bias), targets)


def _uncached(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """As `_plain`. The weight is cast anew, so that the gradients of the chunks add up in its own 32 bits."""
    kind = hidden.device.type
    with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
        return _plain(hidden, weight, bias, targets)


def is_plain(network: Any) -> bool:
    """Whether the logits are the last hidden states times a matrix, and nothing is done to either on the way.

    Tried with four tokens, in 32 bits, at logits of the size that training begins with and at logits in the thousands:
    of a soft cap (Gemma 2) nothing is seen at small ones. Networks with weights outside of body and head are not, as
    what is done with those may come later (a learned scale, a bias of zeros).
    """
    head, body = network.get_output_embeddings(), network.base_model
    if not isinstance(head, nn.Linear) or body is network:
        return False
    inside = {id(tensor) for part in (body, head) for tensor in (*part.parameters(), *part.buffers())}
    if any(id(tensor) not in inside for tensor in (*network.parameters(), *network.buffers())):
        return False
    with _calm(network):
        ids = _some_tokens(network, 4)[None]
        hidden = body(ids, use_cache=False)[0]
        return all(_is_matrix(network, head, ids, hidden, size) for size in (None, 1e4))


def _is_matrix(network: Any, head: nn.Linear, ids: Tensor, hidden: Tensor, size: float | None) -> bool:
    """Whether the head gets what the body puts out, and the network returns what the head does.

    Args:
        hidden: [1, N, D], what the body puts out.
        size: the head gets its input scaled, so that the largest logit is so large; None for its input as it is.
    """
    seen: list[Tensor] = []

    def scaled(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        seen.append(inputs[0])
        largest = F.linear(inputs[0], head.weight).abs().max().clamp(min=1e-6)
        return ((inputs[0] * (size / largest if size else 1)).to(inputs[0].dtype),)

    hooks = [head.register_forward_pre_hook(scaled), head.register_forward_hook(lambda *call: seen.append(call[2]))]
    try:
        logits = network(ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    return len(seen) == 2 and _close(seen[0], hidden) and _close(seen[1], logits)


def _close(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool(torch.allclose(found.float(), wanted.float(), rtol=1e-3, atol=1e-3))


def keeps_apart(network: Any) -> bool:
    """Whether positions that begin anew are to this network a new document, that sees nothing of the one before.

    Tried with two documents of three tokens. False for networks without positions (ALiBi, state spaces).
    """
    ids = _some_tokens(network, 6)
    positions = torch.arange(3, device=ids.device)
    with _calm(network):
        together = network.base_model(ids[None], position_ids=positions.repeat(2)[None], use_cache=False)[0]
        apart = network.base_model(ids.view(2, 3), position_ids=positions.repeat(2, 1), use_cache=False)[0]
    return bool(torch.allclose(together.float().flatten(), apart.float().flatten(), rtol=1e-3, atol=1e-3))


@contextmanager
def _calm(network: nn.Module) -> Iterator[None]:
    """No gradient, no autocast, no TF32, no dropout, nothing compiled; afterwards as before."""
    device, precision = next(network.parameters()).device.type, torch.get_float32_matmul_precision()
    modes = [(module, module.training) for module in network.modules()]
    with torch.no_grad(), torch.autocast(device, enabled=False), torch.compiler.set_stance("force_eager"):
        network.eval()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:  # memory may run out in the trial, and the batch is replayed after it
            torch.set_float32_matmul_precision(precision)
            for module, mode in modes:
                module.training = mode


def _some_tokens(network: Any, count: int) -> Tensor:
    vocabulary = network.get_input_embeddings().num_embeddings
    device = next(network.parameters()).device
    return (torch.arange(count, device=device) * 7919 + 1) % vocabulary


def fuse_activations(network: nn.Module) -> None:
    """Compute GPT-2's gelu_new as one kernel: the same formula, without its six intermediates of 32 bits."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, ACT2FN["gelu_pytorch_tanh"])
