"""Architectures of the weights that shipped configs name, for a plan where they are not in the cache."""

from typing import Any

_SMOLLM2: dict[str, Any] = {"model_type": "llama", "vocab_size": 49152, "max_position_embeddings": 8192,
                            "tie_word_embeddings": True, "rms_norm_eps": 1e-5}  # fmt: skip
_SMALL = {**_SMOLLM2, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
          "num_attention_heads": 9, "num_key_value_heads": 3}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "distilbert/distilbert-base-uncased": {"model_type": "distilbert"},
    "facebook/wav2vec2-xls-r-300m": {
        "model_type": "wav2vec2", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True,
    },
    "gpt2": {"model_type": "gpt2"},
    "openai-community/gpt2": {"model_type": "gpt2"},
    "HuggingFaceTB/SmolLM2-135M": _SMALL,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMALL,
    "HuggingFaceTB/SmolLM2-360M": {
        **_SMOLLM2, "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
        "num_attention_heads": 15, "num_key_value_heads": 5,
    },
}  # fmt: skip
"""By hub id, as `transformers` takes them."""
