"""How CUDA computes, on CPU tensors without content: its autocast, its attention and dropout, and what kernels need.

Tensors without content cannot be of a GPU that is not there (their backward pass wants its streams), so the
dispatcher's CPU is told to behave like CUDA. That holds for the whole process.

B samples · H heads · T queries · S keys · D features of a head
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from zoo import devices
from zoo.vram.allocator import MIB

CUBLAS = 2 * (8 * MIB + MIB // 8)
"""One workspace for the thread of the forward pass and one for that of the backward pass. Source: aten, CUDABlas."""
_ATEN = torch.ops.aten
_WITHOUT_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
_IN_32_BITS = """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar pow.Tensor_Tensor
    pow.Scalar softplus layer_norm native_layer_norm group_norm frobenius_norm.dim nuclear_norm nuclear_norm.dim
    cosine_similarity pdist renorm logsumexp dist rms_norm norm.Scalar norm.ScalarOpt_dim
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_trilinear3d
    upsample_bicubic2d _upsample_bicubic2d_aa"""
"""Source: ATen/autocast_mode.h, as all of this."""
_TO_32_BITS = "softmax.int log_softmax.int cumprod cumsum sum sum.dim_IntList linalg_vector_norm"
_AS_THEY_COME = """
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d adaptive_avg_pool3d avg_pool3d
    cross_entropy_loss cat stack index_copy"""
"""The CPU's autocast has a rule for these and CUDA's has none."""


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Inside, tensors of the CPU are computed as CUDA computes its own."""
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overriding a previously registered kernel.*")
        for name in _IN_32_BITS.split():
            library.impl(name, _in_32_bits(_operator(name)), "AutocastCPU")
        for name in _TO_32_BITS.split():
            library.impl(name, _to_32_bits(_operator(name)), "AutocastCPU")
        for name in _AS_THEY_COME.split():
            library.impl(name, torch.library.fallthrough_kernel, "AutocastCPU")
        for key in ("AutogradCPU", "CPU"):
            library.impl("scaled_dot_product_attention", _attention, key)
            library.impl("dropout", _dropout, key)
    try:
        yield
    finally:
        library._destroy()


def _operator(name: str) -> Any:
    base, _, overload = name.partition(".")
    return getattr(getattr(_ATEN, base), overload or "default")


def _is_low(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)


def _in_32_bits(operator: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT_AUTOCAST):
            args, kwargs = tree_map(lambda x: x.float() if _is_low(x) else x, (args, kwargs))
            if operator is _ATEN.group_norm.default:
                args = (args[0].contiguous(), *args[1:])  # CUDA's kernel wants it so
            return operator(*args, **kwargs)

    return kernel


def _to_32_bits(operator: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT_AUTOCAST):
            if _is_low(args[0]) and kwargs.get("dtype") is None and len(args) < 3:
                kwargs["dtype"] = torch.float32
            return operator(*args, **kwargs)

    return kernel


def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """CUDA keeps a mask of one byte for each number."""
    return _ATEN.native_dropout(x, p, True)[0] if train and p > 0 else x


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By the kernel that a consumer GPU would choose: flash, memory-efficient, or step by step. [B, H, T, D].

    Aside from the plan it is computed for real, step by step."""
    size = q.shape[-1]
    alike = devices.is_planned() and q.dtype == k.dtype == v.dtype and q.ndim == 4 and size == v.shape[-1]
    if alike and attn_mask is None and _is_low(q) and _flash_takes(q, dropout_p):
        scale = 1 / math.sqrt(size) if scale is None else scale
        q, k, v = (F.pad(x, (0, -size % 8)) if size % 8 else x for x in (q, k, v))
        return _ATEN._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, False, scale=scale)[0][
            ..., :size
        ]
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=q.dtype).masked_fill_(~attn_mask, -math.inf)
    if alike and not enable_gqa and not (attn_mask is not None and attn_mask.requires_grad):
        if attn_mask is not None:
            attn_mask = attn_mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
        keeps_sums = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        return _ATEN._scaled_dot_product_efficient_attention(
            q, k, v, attn_mask, keeps_sums, dropout_p, is_causal, scale=scale
        )[0]
    return _ATEN._scaled_dot_product_attention_math(
        q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _flash_takes(q: Tensor, dropout: float) -> bool:
    size = q.shape[-1]
    is_new_enough = devices.capability(q.device) >= devices.AMPERE
    return is_new_enough and size <= 256 and not (q.requires_grad and size > 192 and dropout > 0)


def workspace(name: str, args: Any) -> int:
    """Bytes that a kernel takes while it runs, which no tensor shows.

    Args:
        name: of the operator, as aten::mm.
    """
    if name == "aten::_scaled_dot_product_flash_attention_backward":
        b, h, t, d = args[1].shape
        rows = b * h * -(-t // 128) * 128
        return rows * (32 * -(-d // 32)) * 4 + rows * 4  # the gradient of the queries, and a sum a row, in 32 bits
    if name == "aten::_scaled_dot_product_efficient_attention_backward":
        b, h, t, d = args[1].shape
        return b * h * t * 4 + (b * h * t * d * 4 if _is_low(args[1]) else 0)
    if name == "torch_attn::_varlen_attn_backward":
        tokens, h, d = args[1].shape
        rows = h * -(-tokens // 128) * 128
        return rows * (32 * -(-d // 32)) * 4 + rows * 4
    if name == "aten::embedding_dense_backward":
        return args[1].numel() * 8 * 6  # what sorting the indices takes
    return 0
