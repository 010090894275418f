"""The last layer of a language model with its loss, a few rows at a time: the logits are the largest tensor of a step.

N rows · D features · V vocabulary
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN, NewGELUActivation

from zoo import devices
from zoo.models.miniature import in_plan

IGNORED = -100
_LOGITS_AT_ONCE = 2**24
"""64 MiB in fp32."""
_ON_A_GPU = 2**26
"""Fewer chunks read and write the weight and its gradient less often."""
_FUSED = getattr(F, "linear_cross_entropy", None)  # torch 2.13


def summed_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Cross-entropy of `hidden @ weight.T + bias`, summed over the targets, in fp32.

    In training the gradients are computed with the loss, chunk by chunk: in fp32 by torch's linear_cross_entropy, in
    fp16 and bf16 by `_Chunked`, as torch's function would round the sum to 16 bits.

    Args:
        hidden: [N, D].
        weight: [V, D].
        bias: [V] or None.
        targets: [N], IGNORED where there is none.
    """
    logits_at_once = _ON_A_GPU if devices.kind(hidden) == "cuda" else _LOGITS_AT_ONCE
    at_once = 1 << max(4, (logits_at_once // len(weight)).bit_length() - 1)
    if len(hidden) <= at_once:
        return _plain(hidden, weight, bias, targets)
    kind = hidden.device.type
    computed_in = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    if not torch.is_grad_enabled():
        chunks = zip(hidden.split(at_once), targets.split(at_once), strict=True)
        return torch.stack([_plain(h, weight, bias, t) for h, t in chunks]).sum()
    if _FUSED is None or computed_in != torch.float32:
        return _Chunked.apply(hidden, weight, bias, targets, at_once, computed_in)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=at_once, chunking_method=None)
    return _FUSED(hidden, weight, targets, linear_bias=bias, reduction="sum", ignore_index=IGNORED, options=options)


class _Chunked(torch.autograd.Function):
    """The same a chunk at a time. The weight is cast once, and the chunks' gradients of it add up in fp32.

    They are computed with the loss, out of the same logits. In float16 they would leave its range there, as no scaler
    has scaled yet: the logits are computed again in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, at_once: int, kind: torch.dtype
    ) -> Tensor:
        ctx.at_once, ctx.kind, ctx.at_end = at_once, kind, kind == torch.float16
        inputs, needed = (hidden, weight, bias), ctx.needs_input_grad[:3]
        total, gradients = _chunk_by_chunk(*inputs, targets, at_once, kind, (False,) * 3 if ctx.at_end else needed)
        ctx.save_for_backward(*((*inputs, targets) if ctx.at_end else gradients))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if ctx.at_end:
            hidden, weight, bias, targets = ctx.saved_tensors
            needed = ctx.needs_input_grad[:3]
            _, found = _chunk_by_chunk(hidden, weight, bias, targets, ctx.at_once, ctx.kind, needed, gradient)
        else:
            found = [g if g is None else g * gradient for g in ctx.saved_tensors]
        return *found, None, None, None


def _chunk_by_chunk(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    at_once: int,
    kind: torch.dtype,
    needed: Sequence[bool],
    factor: Tensor | float = 1.0,
) -> tuple[Tensor, list[Tensor | None]]:
    """The sum, and `factor` times its gradients with respect to hidden, weight and bias, those that are needed.

    Args:
        kind: what logits are computed in.
    """
    total = torch.zeros((), device=hidden.device)
    found = [
        torch.zeros_like(x) if has and x is not None else None
        for x, has in zip((hidden, weight, bias), needed, strict=True)
    ]
    by_hidden, by_weight, by_bias = found
    with torch.autocast(hidden.device.type, enabled=False), torch.no_grad():
        inputs, matrix = hidden.to(kind), weight.to(kind)
        offset = None if bias is None else bias.to(kind)
        for start in range(0, len(hidden), at_once):
            rows = slice(start, start + at_once)
            logits, wanted = F.linear(inputs[rows], matrix, offset).float(), targets[rows]  # [n, V]
            total += cross_entropy(logits, wanted)
            if not any(needed):
                continue
            is_target = (wanted != IGNORED)[:, None]
            change = logits.sub_(logits.logsumexp(-1, keepdim=True)).exp_()  # probabilities
            change.scatter_add_(1, wanted[:, None].where(is_target, 0), change.new_full((len(change), 1), -1.0))
            change = change.mul_(is_target * factor).to(kind)
            if by_hidden is not None:
                by_hidden[rows] = change @ matrix
            if by_weight is not None:
                by_weight += change.T @ inputs[rows]
            if by_bias is not None:
                by_bias += change.sum(0, dtype=torch.float32)
    return total, found


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of [N, V] logits, summed over the targets, in fp32."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def _plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return cross_entropy(F.linear(hidden, weight, bias), targets)


def is_plain(network: Any) -> bool:
    """Whether the logits are the last hidden states times a matrix, and nothing is done to either on the way.

    Tried with four tokens, in fp32, at logits of the size that training begins with and at logits in the thousands:
    of a soft cap (Gemma 2) nothing is seen at small ones. Networks with weights outside of body and head are not, as
    what is done with those may come later (a learned scale, a bias of zeros).
    """
    network = in_plan(network)
    head, body = network.get_output_embeddings(), network.base_model
    if not isinstance(head, nn.Linear) or body is network:
        return False
    inside = {id(tensor) for part in (body, head) for tensor in (*part.parameters(), *part.buffers())}
    if any(id(tensor) not in inside for tensor in (*network.parameters(), *network.buffers())):
        return False
    with devices.aside(), calm(network):
        ids = some_tokens(network, 4)[None]
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

    Tried with two sequences of two documents of three tokens: some attentions see packing in a single sequence only.
    False for networks without positions (ALiBi, state spaces).
    """
    network = in_plan(network)
    with devices.aside(), calm(network):
        ids = some_tokens(network, 12)
        positions = torch.arange(3, device=ids.device)
        packed = positions.repeat(2).expand(2, 6)
        together = network.base_model(ids.view(2, 6), position_ids=packed, use_cache=False)[0]
        apart = network.base_model(ids.view(4, 3), position_ids=positions.expand(4, 3), use_cache=False)[0]
        return bool(torch.allclose(together.float().flatten(), apart.float().flatten(), rtol=1e-3, atol=1e-3))


@contextmanager
def calm(network: nn.Module) -> Iterator[None]:
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


def some_tokens(network: Any, count: int) -> Tensor:
    vocabulary = network.get_input_embeddings().num_embeddings
    device = next(network.parameters()).device
    return (torch.arange(count, device=device) * 7919 + 1) % vocabulary


def fuse_activations(network: nn.Module) -> None:
    """Compute GPT-2's gelu_new as one kernel: the same formula, without its six intermediates in fp32."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, ACT2FN["gelu_pytorch_tanh"])
