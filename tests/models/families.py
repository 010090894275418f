"""A tiny network of every family that transformers' AutoModelForCausalLM knows."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LARGEST = 30_000_000
"""Parameters of what is still called tiny: some families have large parts whatever their settings."""
TINY = dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim"), 32)
TINY |= dict.fromkeys(("n_layer", "num_hidden_layers", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2)
TINY |= dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 4)
TINY |= dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4)
TINY |= dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_ff"), 48)
TINY |= dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4)
TINY |= {"head_dim": 8, "moe_intermediate_size": 16, "num_experts_per_tok": 2, "vocab_size": 96}
TINY |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LATENT = {"head_dim": 4, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8, "kv_lora_rank": 8,
          "q_lora_rank": 16, "n_group": 2, "topk_group": 1}  # fmt: skip
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1}
GEMMA4 = {"per_layer_config": {}, "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0,
          "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8}  # fmt: skip
GEMMA3N = {"num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 2, "activation_sparsity_pattern": [0.0] * 2,
           "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8, "laurel_rank": 4}  # fmt: skip
ROTARY = {"rotary_dim": 4}
FURTHER: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "longcat_flash", "youtu"), LATENT),
    **dict.fromkeys(("bamba", "granitemoehybrid"), MAMBA),
    **dict.fromkeys(("codegen", "gptj"), ROTARY),
    **dict.fromkeys(("gemma4_text", "gemma4_unified_text"), GEMMA4),
    "gemma3n_text": GEMMA3N,
    "dots1": {"n_shared_experts": 1},
    "dots3_note_text": {"per_layer_config": {}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "xmod": {"default_language": "en_XX"},
    "zamba2": {"layer_types": ["mamba", "hybrid"], "hybrid_layer_ids": [1], "mamba_headdim": 8, "n_mamba_heads": 8,
               "num_mem_blocks": 1},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
NOT_BUILT = {
    "blt": "has 96 million parameters at its smallest",
    **dict.fromkeys(("cohere_compass_text", "dbrx", "musicgen", "musicgen_melody"), "is not made by its own defaults"),
    **dict.fromkeys(("dots3_note", "gemma3n", "gemma4", "gemma4_assistant", "gemma4_unified", "llama4", "zamba",
                     "gemma4_unified_assistant"), "has lists of its layers that follow no setting"),
    "mimo_v2_flash": "fails in its own attention at small sizes",
}  # fmt: skip
"""Families that are not tried, and why."""
OF_EVERY_LAYER = {"layer_types", "per_layer_config"}
"""Left out, so that the family fills them for two layers."""


def tiny_causal_lm(kind: str) -> PreTrainedModel:
    """In evaluation mode, from the current random stream."""
    config = tiny_config(kind)
    with torch.device("meta"):
        count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if count > LARGEST:
        raise ValueError(f"{count / 1e6:.0f} million parameters")
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def tiny_config(kind: str) -> Any:
    default, further = CONFIG_MAPPING[kind](), FURTHER.get(kind, {})
    renamed = {name: TINY[name] for name in default.attribute_map if name in TINY}
    return CONFIG_MAPPING[kind].from_dict({**renamed, **_tiny(default.to_dict(), further), **further})


def _tiny(settings: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """Of the settings of a family (and of the parts that it is made of) those that make it small."""
    small: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name.endswith("config"):
            kept = {key: inner for key, inner in value.items() if key not in OF_EVERY_LAYER}
            small[name] = {**kept, **_tiny(value, further)}
        elif name in further or (name in TINY and not isinstance(value, list)):
            small[name] = {**TINY, **further}[name]
    return small
