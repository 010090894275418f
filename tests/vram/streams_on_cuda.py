"""Prints how the operations of a forward pass on `as_on_cuda` differ from CUDA's own, for small networks.

Both run on tensors without content, so no GPU is needed, but a torch that was built for CUDA. A process of its own, as
what the dispatcher is told holds for all of it.
"""

import difflib
import json
import math
from contextlib import ExitStack

import timm
import torch
import torch.cuda.amp.common
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from zoo.vram.kernels import as_on_cuda

torch.cuda.amp.common.amp_definitely_not_available = lambda: False  # autocast would turn itself off without a GPU
torch.cuda.is_bf16_supported = lambda *_, **__: True
IDS = ((2, 16), torch.long)
NO_ENDS = {"bos_token_id": None, "eos_token_id": None, "use_cache": False}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 64, "num_hidden_layers": 2}


class Heard(nn.Module):
    """A group norm, an upsampling, a softmax and a loss, beside what the other networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(F.silu(self.norm(self.one(x))), scale_factor=2.0)
        x = F.pad(x, (1, 1, 1, 1), mode="reflect").flatten(1)[:, :10].softmax(-1)
        return F.cross_entropy(x, torch.zeros(len(x), dtype=torch.long, device=x.device)) + x.pow(2).sum()


NETWORKS = {
    "GPT-2": (lambda: GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=64, **NO_ENDS)), IDS),
    "Llama": (lambda: LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **TEXT, **NO_ENDS)), IDS),
    "ViT": (lambda: timm.create_model("vit_tiny_patch16_224", depth=2), ((2, 3, 224, 224), torch.float32)),
    "ResNet": (lambda: timm.create_model("resnet18"), ((2, 3, 64, 64), torch.float32)),
    "others": (Heard, ((2, 3, 16, 16), torch.float32)),
}


class Log(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [(tuple(x.shape), x.dtype) for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if made:
            size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in made)
            self.lines.append((f"{func._schema.name} {made}", size))
        return result


def attention(q, k, v, *_, enable_gqa=False, **__):
    """torch would choose another kernel for each of the devices."""
    return q.to(torch.get_autocast_dtype(q.device.type)) + 0


def empty(x: torch.Tensor, device: str) -> torch.Tensor:
    made = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=device)
    return nn.Parameter(made) if isinstance(x, nn.Parameter) else made


def operations(build, shape, dtype, device: str, kind: torch.dtype) -> list[tuple[str, int]]:
    network = build().train()
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        if device == "cpu":
            stack.enter_context(as_on_cuda())
        for part in network.modules():
            for tensors in (part._parameters, part._buffers):
                tensors |= {n: empty(x, device) for n, x in tensors.items() if x is not None}
        x = torch.zeros(shape, dtype=dtype, device=device)
        stack.enter_context(torch.autocast(device, kind, cache_enabled=False))
        with Log() as log:
            network(x)
    return log.lines


if __name__ == "__main__":
    F.scaled_dot_product_attention = torch.nn.functional.scaled_dot_product_attention = attention
    for name, (build, (shape, dtype)) in NETWORKS.items():
        for kind in (torch.float16, torch.bfloat16):
            ours, theirs = (operations(build, shape, dtype, device, kind) for device in ("cpu", "cuda"))
            lines = [[line for line, _ in log] for log in (theirs, ours)]
            differing = [line for line in difflib.unified_diff(*lines, lineterm="", n=0) if line[0] in "+-"][2:]
            sizes = [sum(size for _, size in log) for log in (ours, theirs)]
            print(json.dumps([name, str(kind), len(theirs), differing[:6], *sizes]))
