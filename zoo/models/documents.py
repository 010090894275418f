"""Attention of packed documents, each by itself, without a mask over the whole sequence: an attention of transformers.

B sequences · T tokens of a sequence · H heads · D features of a head · N documents · L tokens of the longest of a group
"""

import functools
import inspect
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from zoo import devices
from zoo.models.head import calm, some_tokens
from zoo.models.miniature import in_plan

NAME = "zoo_documents"
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_LONG = 1024
"""Tokens of a sequence from which a CPU computes documents in groups faster than the whole sequence with a mask."""
_WASTE = 1.25
"""The longest document of a group to the shortest. Those of up to 16 tokens are one group."""
_SHORT = 16


def bounds(positions: Tensor) -> Tensor:
    """[1, 1, 1, N + 1] int32: where each document begins among all B * T tokens, and B * T.

    Four dimensions, as transformers hands such a mask to the attention untouched.

    Args:
        positions: [B, T], from 0 in every document.
    """
    begins = torch.ones_like(positions, dtype=torch.bool)
    begins[:, 1:] = positions[:, 1:] != positions[:, :-1] + 1
    starts = begins.flatten().nonzero().flatten()
    return torch.cat([starts, starts.new_tensor([positions.numel()])]).int()[None, None, None]


def pay_off(length: int, device: torch.device, half: bool) -> bool:
    """Whether sequences of `length` tokens are computed faster so than with a mask.

    Args:
        half: whether the attention is computed in fp16 or bf16.
    """
    kind = devices.kind(device)
    return length >= _LONG if kind == "cpu" else kind == "cuda" and half and _has_varlen(device)


def adopt(network: Any) -> bool:
    """Have a network use this attention, which is transformers' own by SDPA where no bounds are given.

    It is tried with two sequences of two documents: what it puts out has to be that of the documents one by one.

    Returns:
        Whether it can; if not, the network is as before.
    """
    usual = getattr(network.config, "_attn_implementation", None)
    if usual != "sdpa" or not _layers(network.config) <= _KNOWN_LAYERS:
        return False
    network.set_attn_implementation(NAME)
    try:
        taken = network.config._attn_implementation == NAME and _is_exact(in_plan(network))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError):  # the family makes a mask of its own out of what it is given
        taken = False
    if not taken:
        network.set_attn_implementation(usual)
    return taken


def _layers(config: Any) -> set[str]:
    return {*(getattr(config, "layer_types", None) or ["full_attention"])}


def _is_exact(network: Any) -> bool:
    """Whether documents are computed as if each were alone, and every layer with a sliding window says how wide."""
    widths: list[Any] = []
    with devices.aside(), calm(network), _noting(widths):
        ids = some_tokens(network, 12).view(2, 6)
        positions = torch.tensor([[0, 1, 2, 3, 0, 1], [0, 1, 0, 1, 2, 3]], device=ids.device)
        together = network.base_model(ids, position_ids=positions, attention_mask=bounds(positions), use_cache=False)[0]
        parts = [(ids[0, :4], ids[0, 4:]), (ids[1, :2], ids[1, 2:])]
        alone = [torch.cat([network.base_model(p[None], use_cache=False)[0][0] for p in row]) for row in parts]
    kinds = getattr(network.config, "layer_types", None)
    window = getattr(network.config, "sliding_window", None)
    sliding = kinds.count("sliding_attention") if kinds else len(widths) * (window is not None)
    all_told = bool(widths) and sum(width is not None for width in widths) == sliding
    return all_told and bool(torch.allclose(together.float(), torch.stack(alone).float(), rtol=1e-3, atol=1e-3))


_noted: list[Any] | None = None


@contextmanager
def _noting(widths: list[Any]) -> Iterator[None]:
    """Inside, the widths of sliding windows with which the attention is called on bounds are noted."""
    global _noted
    _noted = widths
    try:
        yield
    finally:
        _noted = None


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """As transformers' attention by SDPA; where the mask is `bounds`, of each document by itself. [B, T, H, D].

    Args:
        query: [B, H, T, D]; key and value may have fewer heads.
    """
    if attention_mask is None or attention_mask.dtype != torch.int32:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if _noted is not None:
        _noted.append(options.get("sliding_window"))
    if devices.kind(query) == "cuda" and _fits_varlen(query, options):
        return _by_varlen(query, key, value, attention_mask, options), None
    if devices.kind(query) == "cpu":
        return _in_groups(module, query, key, value, attention_mask, options), None
    mask = _mask(attention_mask, query, options.get("sliding_window"))
    return sdpa_attention_forward(module, query, key, value, mask, **options)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _mask(ends: Tensor, query: Tensor, width: int | None) -> Tensor:
    """[B, 1, T, T] bool, for whom neither of the other ways is open."""
    rows, length = query.shape[0], query.shape[2]
    number = torch.zeros(rows * length, dtype=torch.long, device=ends.device)
    number[ends.flatten()[1:-1].long()] = 1
    number = number.cumsum(0).view(rows, length)
    return ((number[:, :, None] == number[:, None, :]) & _band(length, width, ends.device))[:, None]


def _band(length: int, width: int | None, device: torch.device) -> Tensor:
    """[L, L] bool: the tokens up to one's own, the last `width` of them."""
    band = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return band if width is None else band.triu(1 - width)


# On a CPU: documents of like length are a batch -----------------------------------------------------------------


class _Group(NamedTuple):
    """Documents of like length."""

    documents: int
    length: int


class _Layout(NamedTuple):
    rows: Tensor
    """[sum of documents * length]: the token (of B * T) in each place of the groups; places behind a document's end
    have any token, as causal attention never looks at them."""
    places: Tensor
    """[B * T]: the place of each token."""
    groups: list[_Group]


class _Take(torch.autograd.Function):
    """`tensor[rows]`, where `back` is its inverse as far as gradients go: what `rows` repeats has none."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rows: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return tensor.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, *ctx.saved_tensors), None, None


class _Put(torch.autograd.Function):
    """`tensor[places]`; the gradient is 0 in all other places."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.length = len(tensor)
        return tensor.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = gradient.new_zeros(ctx.length, *gradient.shape[1:])
        (places,) = ctx.saved_tensors
        return whole.index_copy_(0, places, gradient), None


def _in_groups(module: Any, query: Tensor, key: Tensor, value: Tensor, ends: Tensor, options: Any) -> Tensor:
    layout, width = _layout_of(ends), options.get("sliding_window")
    sizes = [group.documents * group.length for group in layout.groups]
    taken = []
    for tensor in (query, key, value):
        tokens = tensor.transpose(1, 2).flatten(0, 1)  # [B * T, H, D]
        taken.append(_Take.apply(tokens, layout.rows, layout.places).split(sizes))
    found = []
    for group, *parts in zip(layout.groups, *taken, strict=True):
        q, k, v = (part.unflatten(0, group).transpose(1, 2) for part in parts)  # [documents, H, L, D]
        band = _band(group.length, width, ends.device) if width is not None and width < group.length else None
        found.append(sdpa_attention_forward(module, q, k, v, band, **options)[0].flatten(0, 1))
    return _Put.apply(torch.cat(found), layout.places).unflatten(0, (len(query), -1))


_latest: tuple[Any, _Layout] | None = None


def _layout_of(ends: Tensor) -> _Layout:
    """Made by the first layer, and kept for the others and for what is computed again."""
    global _latest
    if _latest is None or _latest[0]() is not ends:
        _latest = weakref.ref(ends), _layout(ends.flatten())
    return _latest[1]


def _layout(ends: Tensor) -> _Layout:
    starts, lengths = ends[:-1].long(), ends.diff().long()
    lengths, order = lengths.sort(stable=True)
    starts, sizes = starts[order], lengths.tolist()
    rows, real, groups, first = [], [], [], 0
    for i in range(1, len(sizes) + 1):
        if i < len(sizes) and sizes[i] <= max(_SHORT, _WASTE * sizes[first]):
            continue
        inside = torch.arange(sizes[i - 1])
        rows.append((starts[first:i, None] + inside).flatten())
        real.append((inside < lengths[first:i, None]).flatten())
        groups.append(_Group(i - first, sizes[i - 1]))
        first = i
    token, is_real = torch.cat(rows), torch.cat(real)
    places = torch.empty(int(ends[-1]), dtype=torch.long)
    places[token[is_real]] = is_real.nonzero().flatten()
    return _Layout(token.clamp(max=len(places) - 1), places, groups)


# On a GPU -------------------------------------------------------------------------------------------------------


@functools.cache
def _varlen() -> Any:
    """torch's attention for documents of any length, in the form that it has since 2.12; None in an older torch."""
    if find_spec("torch.nn.attention.varlen") is None:
        return None
    from torch.nn.attention.varlen import varlen_attn

    wanted = {"scale", "window_size", "enable_gqa"}
    return varlen_attn if wanted <= inspect.signature(varlen_attn).parameters.keys() else None


def _has_varlen(device: torch.device) -> bool:
    return _varlen() is not None and devices.capability(device) >= devices.AMPERE


def _fits_varlen(query: Tensor, options: Any) -> bool:
    """Whether it takes this: fp16 or bf16, no dropout."""
    half = _computed_in(query) in (torch.float16, torch.bfloat16)
    return half and not options.get("dropout") and query.shape[-1] <= 256 and _has_varlen(query.device)


def _by_varlen(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, options: Any) -> Tensor:
    """Not run on a GPU yet."""
    kind, longest, width = _computed_in(query), query.shape[2], options.get("sliding_window")
    tokens = [x.transpose(1, 2).flatten(0, 1).to(kind) for x in (query, key, value)]  # [B * T, H, D]
    found = _varlen()(
        *(*tokens, ends.flatten(), ends.flatten(), longest, longest),
        window_size=(-1 if width is None else width - 1, 0),
        scale=options.get("scaling"),
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return found.unflatten(0, (len(query), -1))


def _computed_in(query: Tensor) -> torch.dtype:
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
