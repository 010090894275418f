"""What is tried out with numbers, asked of a small network of the same config where the large one has no content."""

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.models.families import tiny_causal_lm
from zoo.models import documents, head
from zoo.models.miniature import in_plan
from zoo.vram.sandbox import Sandbox

TRIALS = head.is_plain, head.keeps_apart, documents.adopt
FAMILIES = "gpt2 llama mistral qwen2 qwen3 phi phi3 gemma gemma2 gemma3_text granite cohere opt bloom".split()  # noqa: SIM905


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_large_network_without_content_answers_as_a_tiny_real_one_does(kind: str):
    wanted = [trial(tiny_causal_lm(kind)) for trial in TRIALS]
    with torch.device("meta"):
        large = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind]())
    with Sandbox(None).entered():
        assert [trial(large) for trial in TRIALS] == wanted


def test_outside_of_a_plan_a_network_answers_for_itself():
    network = tiny_causal_lm("gpt2")
    assert in_plan(network) is network
