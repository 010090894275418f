from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save_tiny
from models.families import NOT_BUILT, tiny_causal_lm
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.activations import NewGELUActivation
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from zoo.loop.probe import CpuMeter
from zoo.models import head
from zoo.models import pretrained as hf

N, D, V = 200, 8, 50


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", 32 * V)


def inputs(bias: bool = True) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, D, generator=generator).requires_grad_() for n in (N, V))
    targets = torch.randint(0, V, (N,), generator=generator)
    targets[::3] = head.IGNORED
    return hidden, weight, torch.randn(V, generator=generator).requires_grad_() if bias else None, targets


def value_and_gradients(loss: Any, bias: bool, dtype: torch.dtype | None = None) -> list[Tensor]:
    hidden, weight, b, targets = inputs(bias)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        total = loss(hidden, weight, b, targets)
    (total / 64).backward()
    return [total.detach(), *(t.grad for t in (hidden, weight, b) if t is not None)]


def reference(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias).float(), targets, reduction="sum")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_loss_and_gradients_in_chunks_are_those_of_the_whole(
    bias: bool, fused: bool, small_chunks: None, monkeypatch: Any
):
    if fused and head._FUSED is None:
        pytest.skip("this torch has no linear_cross_entropy")
    if not fused:
        monkeypatch.setattr(head, "_FUSED", None)
    found = value_and_gradients(head.summed_cross_entropy, bias)
    for a, b in zip(found, value_and_gradients(reference, bias), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_they_are_as_exact_as_the_whole(dtype: torch.dtype, small_chunks: None):
    exact = value_and_gradients(reference, True)
    whole = value_and_gradients(reference, True, dtype)
    for ours, theirs, true in zip(
        value_and_gradients(head.summed_cross_entropy, True, dtype), whole, exact, strict=True
    ):
        assert (ours - true).norm() <= 1.5 * (theirs - true).norm() + 1e-6 * true.norm()


def test_sixteen_bits_do_not_go_through_the_fused_kernel(small_chunks: None, monkeypatch: Any):
    def refused(*args: Any, **kwargs: Any) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(head, "_FUSED", refused)
    for dtype in (torch.float16, torch.bfloat16):
        assert value_and_gradients(head.summed_cross_entropy, False, dtype)[0].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_frozen_costs_no_gradient(dtype: torch.dtype, small_chunks: None):
    """Of a frozen head with adapters below it, or of a head alone."""
    hidden, weight, bias, targets = inputs()
    for trained in (hidden, weight):
        for tensor in (hidden, weight, bias):
            assert tensor is not None
            tensor.requires_grad_(tensor is trained)
            tensor.grad = None
        with torch.autocast("cpu", dtype=dtype):
            head.summed_cross_entropy(hidden, weight, bias, targets).backward()
        assert [tensor.grad is not None for tensor in (hidden, weight, bias)] == [
            trained is hidden,
            trained is weight,
            False,
        ]


def bytes_moved(tokens: int, features: int, vocabulary: int, dtype: torch.dtype) -> int:
    """Read and written by the head for loss and gradients, counted on tensors without content."""
    with FakeTensorMode():
        hidden = torch.randn(tokens, features, dtype=dtype, requires_grad=True)
        weight = torch.randn(vocabulary, features, requires_grad=True)
        with Traffic() as traffic, torch.autocast("cpu", dtype=dtype):
            head.summed_cross_entropy(hidden, weight, None, torch.zeros(tokens, dtype=torch.long)).backward()
    return traffic.bytes


class Traffic(TorchDispatchMode):
    """Counts the bytes of what operators read and write; views and casts to the same type move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view and "prim" not in str(function):
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.bytes += sum(x.nbytes for x in tensors)
        return result


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_head_of_gpt2_moves_less_than_25_gb_for_4096_tokens_in_chunks_as_on_a_gpu(
    dtype: torch.dtype, monkeypatch: Any
):
    """With a cast of the weight and an addition of its gradient in 32 bits for each chunk of 2**24 it moved 37 GB."""
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", head._ON_A_GPU)
    assert bytes_moved(4096, 768, 50257, dtype) < 25e9


def test_an_evaluation_is_the_same_sum(small_chunks: None):
    with torch.inference_mode():
        assert torch.allclose(head.summed_cross_entropy(*inputs()), reference(*inputs()))


def test_no_target_at_all_is_a_sum_of_zero():
    hidden, weight, bias, targets = inputs()
    none = head.summed_cross_entropy(hidden[:0], weight, bias, targets[:0])
    none.backward()
    assert none.item() == 0


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_the_peak_is_that_of_a_chunk(dtype: torch.dtype | None, monkeypatch: Any):
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", 64 * 2000)

    def peak(loss: Any) -> int:
        hidden, weight = torch.randn(1024, 16, requires_grad=True), torch.randn(2000, 16, requires_grad=True)
        with CpuMeter([hidden, weight]) as meter, torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss(hidden, weight, None, torch.randint(0, 2000, (1024,))).backward()
        return meter.peak

    assert peak(head.summed_cross_entropy) < peak(reference) / 5


def network(folder: Path, **architecture: Any) -> Any:
    save_tiny(folder, architecture)
    return hf.load_causal_lm(str(folder), hf.load_config(str(folder)))


@pytest.mark.parametrize(
    ("architecture", "plain"),
    [
        ({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16}, True),
        ({"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
          "num_attention_heads": 2}, True),
        ({"model_type": "phi", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
          "num_attention_heads": 2}, True),
        ({"model_type": "gemma2", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8,
          "num_attention_heads": 2, "num_key_value_heads": 1, "final_logit_softcapping": 30.0}, False),
        ({"model_type": "cohere", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
          "num_attention_heads": 2, "logit_scale": 0.5}, False),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_head_that_is_more_than_a_matrix_is_told_from_one_that_is_not(
    architecture: dict[str, Any], plain: bool, tmp_path: Path
):
    assert head.is_plain(network(tmp_path / "model", **architecture)) is plain


@pytest.mark.parametrize("kind", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - NOT_BUILT))
@pytest.mark.filterwarnings("default")  # families warn of settings of theirs
def test_of_every_family_whose_head_is_called_plain_the_loss_in_chunks_is_that_of_its_own_logits(
    kind: str, small_chunks: None
):
    """At logits as training begins with, and at some hundred times those, of which a soft cap would show."""
    torch.manual_seed(0)
    net = tiny_causal_lm(kind)
    if not head.is_plain(net):
        return  # its own logits are what the task learns from
    output, ids, targets = net.get_output_embeddings(), torch.arange(60)[None] % 90 + 3, torch.arange(60) % 7
    with torch.no_grad():
        for factor in (1, 300):
            output.weight *= factor
            wanted = F.cross_entropy(net(ids, use_cache=False).logits[0].float(), targets, reduction="sum")
            hidden = net.base_model(ids, use_cache=False)[0].flatten(0, 1)
            found = head.summed_cross_entropy(hidden, output.weight, output.bias, targets)
            assert torch.allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize(("kind", "plain"), [("gpt2", True), ("granite", True), ("opt", True), ("rwkv", True),
                                             ("gemma2", False), ("cohere2", False), ("bert", False)])  # fmt: skip
def test_the_families_are_told_apart(kind: str, plain: bool):
    assert head.is_plain(tiny_causal_lm(kind)) is plain


def test_a_scale_that_is_learned_is_not_plain_although_it_begins_at_one():
    net = tiny_causal_lm("llama")
    assert head.is_plain(net)
    net.scale = torch.nn.Parameter(torch.ones(()))
    assert not head.is_plain(net)


def test_what_is_added_to_logits_shows_at_small_ones_only():
    """At logits in the thousands it is below what rounding hides."""
    net = tiny_causal_lm("llama")
    forward = net.forward

    def shifted(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits + 0.002 * (-1) ** torch.arange(output.logits.shape[-1])
        return output

    net.forward = shifted
    assert not head.is_plain(net)


def test_a_trial_is_in_full_precision_whatever_the_training_is():
    net, seen = tiny_causal_lm("llama"), set()
    net.model.register_forward_hook(lambda *_: seen.add(torch.get_float32_matmul_precision()))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, which is 1e-3 off
    try:
        assert head.is_plain(net)
        assert head.keeps_apart(net)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == {"highest"}


@pytest.mark.parametrize(("kind", "apart"), [("gpt2", True), ("bloom", False)])
def test_who_keeps_packed_documents_apart_is_found_out(kind: str, apart: bool, tmp_path: Path):
    sizes = {"gpt2": {"n_embd": 16}, "bloom": {"hidden_size": 16}}[kind]
    assert head.keeps_apart(network(tmp_path / kind, model_type=kind, n_layer=2, n_head=2, **sizes)) is apart


def test_trying_leaves_modes_and_gradients_as_they_were(tmp_path: Path):
    net = network(tmp_path / "model", model_type="gpt2", n_layer=1, n_head=2, n_embd=16)
    net.train()
    net.transformer.h[0].eval()
    before = [m.training for m in net.modules()]
    head.is_plain(net)
    assert [m.training for m in net.modules()] == before
    assert all(p.grad is None for p in net.parameters())


def test_a_trial_that_fails_leaves_the_modes_too(tmp_path: Path, monkeypatch: Any):
    net = network(tmp_path / "model", model_type="gpt2", n_layer=1, n_head=2, n_embd=16).train()

    def out_of_memory(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(net.transformer.h[0], "forward", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        head.keeps_apart(net)
    assert all(m.training for m in net.modules())


def test_gelu_new_is_one_kernel_with_the_same_values(tmp_path: Path):
    net = network(tmp_path / "model", model_type="gpt2", n_layer=1, n_head=2, n_embd=16)
    assert not [m for m in net.modules() if isinstance(m, NewGELUActivation)]
    assert net.config.activation_function == "gelu_new"
    x = torch.linspace(-6, 6, 1001)
    assert torch.allclose(net.transformer.h[0].mlp.act(x), NewGELUActivation()(x), atol=1e-6)
