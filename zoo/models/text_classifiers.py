"""Text classifiers of transformers: encoders (BERT, DeBERTa, ModernBERT …) and causal models, behind one face."""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import processors
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from zoo import devices
from zoo.errors import ConfigError
from zoo.files.hub import explained, offline
from zoo.files.paths import follow
from zoo.models import pretrained as hf
from zoo.models.head import fuse_activations

_BEGIN, _END, _PAD = "[CLS]", "[SEP]", "[PAD]"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocab_size` tokens that writes [CLS] before a text and [SEP] after it.

    BERT answers at the first token, a causal model at the last: neither is part of the text.
    """
    tokenizer = hf.byte_level_bpe(texts, vocab_size, [_PAD, _BEGIN, _END])
    ends = [(name, tokenizer.token_to_id(name)) for name in (_BEGIN, _END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BEGIN} $A {_END}", pair=f"{_BEGIN} $A {_END} $B {_END}", special_tokens=ends
    )
    names: dict[str, Any] = {"pad_token": _PAD, "cls_token": _BEGIN, "sep_token": _END}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_BEGIN, eos_token=_END, **names)


def set_padding(tokenizer: Any) -> None:
    """Padding stands on the right, and has a token: a model for generation may have been made without one.

    Raises:
        ConfigError: the tokenizer has no token that could stand there.
    """
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise ConfigError("model.tokenizer has neither a padding token nor one that ends a text. Name another one.")


def set_padding_token(config: PreTrainedConfig, tokenizer: Any) -> None:
    """So that a causal model finds the last token of a text, behind which the padding stands."""
    config.pad_token_id = config.get_text_config().pad_token_id = tokenizer.pad_token_id


def set_vocabulary(config: PreTrainedConfig, tokenizer: Any) -> None:
    config.vocab_size = len(tokenizer)
    for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if hasattr(config, name):
            setattr(config, name, getattr(tokenizer, name))


def label_names(config: PreTrainedConfig) -> list[str] | None:
    """The classes of weights that classify already; None for others, and for those that only number their classes."""
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or []):
        return None
    numbered: dict[Any, str] = dict(config.id2label or {})
    names = [numbered[i] for i in sorted(numbered)]
    return None if names == [f"LABEL_{i}" for i in range(len(names))] else names


def set_classes(config: PreTrainedConfig, names: list[str]) -> None:
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = "single_label_classification"


def without_cache(config: PreTrainedConfig) -> None:
    """Keys and values are kept for tokens that are still to come, of which a text that is classified has none."""
    for part in (config, config.get_text_config()):
        if hasattr(part, "use_cache"):
            part.use_cache = False


def build(config: PreTrainedConfig) -> Any:
    """The network with new weights, from torch's global random stream.

    Raises:
        ConfigError: transformers has no classifier of this architecture, or not with these settings.
    """
    _known(config)
    with hf.refused(f"{config.model_type} cannot classify texts with these settings"):
        network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32, trust_remote_code=False)
    fuse_activations(network)
    return network


def load(name: str, config: PreTrainedConfig) -> Any:
    """The network with the weights of a hub id or folder, in 32 bits; a head for other classes is new.

    Raises:
        MissingInputError: it is not there.
        ConfigError: the weights do not match the architecture, beside the head.
    """
    if devices.is_planned():
        return build(config)
    name = str(follow(name))
    _known(config)
    with explained(name, "model"):
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            local_files_only=offline(),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
    network, report = loaded
    missing = {key if isinstance(key, str) else key[0] for key in (*report["missing_keys"], *report["mismatched_keys"])}
    if lost := sorted(missing - head(network)):
        raise ConfigError(
            f"model {name}: the weights do not match {type(network).__name__}: {len(lost)} are missing, or of another "
            f"shape ({lost[0]})."
        )
    fuse_activations(network)
    return network


def _known(config: PreTrainedConfig) -> None:
    if config.model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise ConfigError(
            f"model: transformers has no text classifier of type {config.model_type}. Use one of bert, distilbert, "
            f"deberta-v2, modernbert, xlm-roberta, gpt2, llama, qwen3 …"
        )


def head(network: Any) -> set[str]:
    """The parameters that come after the body: what is new for every set of classes."""
    body = {id(p) for name, p in network.base_model.named_parameters() if not name.startswith("pooler.")}
    return {name for name, p in network.named_parameters() if id(p) not in body}


def positions(network: Any) -> int | None:
    """Tokens for which the architecture has positions; None where it has no limit.

    RoBERTa and its kin begin to count behind the number of the padding token.
    """
    count = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    for module in network.modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings == count and module.padding_idx is not None:
            return count - module.padding_idx - 1
    return count if count and count > 0 else None


def check_padding(network: Any, tokenizer: Any) -> None:
    """Refuse a network to which a text is another one when padding stands behind it.

    Tried with two texts: padding may change the logits of the shorter one by a hundredth of what the other text does.

    Raises:
        ConfigError: it answers otherwise with padding than without.
    """
    if devices.is_planned():
        return
    texts = ["one two", "one two three four five six seven"]
    alone = tokenizer(texts[:1], return_tensors="pt", verbose=False)
    together = tokenizer(texts, return_tensors="pt", padding=True, verbose=False)
    was_training = network.training
    network.eval()
    with torch.no_grad(), hf.refused(f"{network.config.model_type} cannot classify texts with these settings"):
        without, padded = (network(**batch).logits.float() for batch in (alone, together))
    network.train(was_training)
    if (padded[0] - without[0]).abs().max() > 0.01 * (padded[1] - padded[0]).abs().max() + 1e-6:
        raise ConfigError(
            f"{network.config.model_type} answers otherwise when padding stands behind a text, so batches would not "
            f"mean what their texts mean. Use another architecture."
        )
