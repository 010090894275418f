from typing import Any

import pytest
import torch
from models.families import FURTHER, NOT_BUILT, tiny_causal_lm, tiny_config
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from zoo.models import documents

LENGTHS = [[7, 1, 30, 20], [50, 3, 3, 2]]
T = 58
POSITIONS = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in LENGTHS])  # [2, T]
IDS = torch.randint(3, 90, (2, T), generator=torch.Generator().manual_seed(1))


def outputs_and_gradient(network: Any, hidden: Any) -> tuple[Tensor, Tensor]:
    """Of the hidden states [2, T, D] that `hidden` computes, and of the weights at a random linear loss of them."""
    network.zero_grad()
    found = hidden()
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    (found * weights).sum().backward()
    gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return found.detach(), torch.cat(gradients).clone()


def packed(network: Any) -> Any:
    bounds = documents.bounds(POSITIONS)
    return lambda: network.base_model(IDS, position_ids=POSITIONS, attention_mask=bounds, use_cache=False)[0]


def one_by_one(network: Any) -> Any:
    def hidden() -> Tensor:
        rows = []
        for ids, lengths in zip(IDS, LENGTHS, strict=True):
            parts = [network.base_model(part[None], use_cache=False)[0][0] for part in ids.split(lengths)]
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    return hidden


def assert_alike(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def with_small_window(kind: str) -> Any:
    """A network whose sliding window, if it has one, is shorter than the documents."""
    config = tiny_config(kind)
    if getattr(config, "sliding_window", None) and "sliding_window" not in FURTHER.get(kind, {}):
        config.sliding_window = 9
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - NOT_BUILT))
@pytest.mark.filterwarnings("default")  # families warn of settings of theirs
def test_of_every_family_that_adopts_it_two_packed_sequences_are_their_documents_one_by_one(kind: str):
    torch.manual_seed(0)
    network = with_small_window(kind)
    usual = getattr(network.config, "_attn_implementation", None)
    if not documents.adopt(network):
        assert getattr(network.config, "_attn_implementation", None) == usual
        return
    assert_alike(outputs_and_gradient(network, packed(network)), outputs_and_gradient(network, one_by_one(network)))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "phi", "phi3", "gemma", "gemma3_text", "qwen2", "qwen3",
                                  "smollm3", "olmo2", "gpt_neox", "opt", "starcoder2", "mixtral"])  # fmt: skip
def test_the_families_that_people_train_adopt_it(kind: str):
    assert documents.adopt(tiny_causal_lm(kind))


@pytest.mark.parametrize("kind", ["mamba", "bloom", "gemma2", "llama4_text", "bert", "doge"])
def test_others_keep_their_own_attention(kind: str):
    network = tiny_causal_lm(kind)
    usual = getattr(network.config, "_attn_implementation", None)
    assert not documents.adopt(network)
    assert getattr(network.config, "_attn_implementation", None) == usual


def tiny_llama() -> Any:
    torch.manual_seed(0)
    network = tiny_causal_lm("llama")
    assert documents.adopt(network)
    return network


def test_a_sliding_window_of_which_the_attention_is_not_told_is_not_adopted():
    """The mask would say how wide it is, and there is none."""
    network = tiny_causal_lm("llama")
    network.config.sliding_window = 3
    assert not documents.adopt(network)


def test_computing_activations_again_changes_nothing():
    network = tiny_llama().train()
    plain = outputs_and_gradient(network, packed(network))
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert_alike(outputs_and_gradient(network, packed(network)), plain)


def test_two_packings_in_turn_are_not_mistaken_for_each_other():
    network = tiny_llama()
    first = documents.bounds(POSITIONS)
    other = documents.bounds(torch.arange(T).expand(2, T))

    def hidden(bounds: Tensor) -> Tensor:
        return network.base_model(IDS, position_ids=POSITIONS, attention_mask=bounds, use_cache=False)[0]

    with torch.no_grad():
        before, whole, after = hidden(first), hidden(other), hidden(first)
    assert torch.equal(before, after)
    assert not torch.allclose(before, whole, atol=1e-3)


def test_the_mask_of_a_device_that_has_neither_way_is_of_the_same_documents(monkeypatch: pytest.MonkeyPatch):
    """What a GPU without a kernel for documents does; tried on the CPU, whose own way is put out of reach."""
    network = with_small_window("mistral")
    assert documents.adopt(network)
    wanted = outputs_and_gradient(network, packed(network))

    def by_mask(module: Any, query: Tensor, key: Tensor, value: Tensor, ends: Tensor, options: Any) -> Tensor:
        mask = documents._mask(ends, query, options.get("sliding_window"))
        return documents.sdpa_attention_forward(module, query, key, value, mask, **options)[0]

    monkeypatch.setattr(documents, "_in_groups", by_mask)
    assert_alike(outputs_and_gradient(network, packed(network)), wanted)


def test_the_kernel_for_documents_is_told_what_they_are(monkeypatch: pytest.MonkeyPatch):
    """It runs on a GPU only; a stand-in with its signature computes document by document what it is asked for."""
    network = with_small_window("mistral")
    assert documents.adopt(network)
    wanted = outputs_and_gradient(network, packed(network))

    def varlen(q: Tensor, k: Tensor, v: Tensor, q_ends: Tensor, k_ends: Tensor, q_longest: int, k_longest: int, *,
               scale: float, window_size: tuple[int, int], enable_gqa: bool) -> Tensor:  # fmt: skip
        assert q_ends.dtype == k_ends.dtype == torch.int32
        assert q_longest == k_longest == T
        assert window_size[1] == 0
        found = []
        for start, end in zip(q_ends[:-1].tolist(), q_ends[1:].tolist(), strict=True):
            parts = [x[start:end].transpose(0, 1)[None] for x in (q, k, v)]
            behind = torch.arange(end - start)[:, None] - torch.arange(end - start)
            mask = (behind >= 0) & ((behind <= window_size[0]) | (window_size[0] < 0))
            one = torch.nn.functional.scaled_dot_product_attention(
                *parts, attn_mask=mask, scale=scale, enable_gqa=enable_gqa
            )
            found.append(one[0].transpose(0, 1))
        return torch.cat(found)

    def by_varlen(module: Any, query: Tensor, key: Tensor, value: Tensor, ends: Tensor, options: Any) -> Tensor:
        return documents._by_varlen(query, key, value, ends, options)

    monkeypatch.setattr(documents, "_varlen", lambda: varlen)
    monkeypatch.setattr(documents, "_in_groups", by_varlen)
    assert_alike(outputs_and_gradient(network, packed(network)), wanted)


def test_the_installed_kernel_has_the_arguments_that_are_given():
    """Its signature changed with torch 2.12; in an older one the mask is used."""
    if torch.__version__ >= "2.12":
        assert documents._varlen() is not None


def test_bounds_are_the_beginnings_of_all_documents_and_the_end():
    positions = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 2]])
    assert documents.bounds(positions).tolist() == [[[[0, 3, 4, 5, 8]]]]


def test_a_model_that_adopts_it_is_saved_without_a_word_of_it_and_generates_as_before():
    torch.manual_seed(0)
    network = tiny_causal_lm("llama")
    prompt = torch.tensor([[0, 5, 6], [4, 5, 6]])
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    asked = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
    before = network.generate(prompt, **asked)
    assert documents.adopt(network)
    assert torch.equal(network.generate(prompt, **asked), before)
    assert documents.NAME not in network.config.to_json_string()
