"""Networks, configs and tokenizers of transformers, from the hub, a folder, or from scratch."""

import difflib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from zoo import devices
from zoo.errors import ConfigError, DataError, MissingInputError, UserError
from zoo.files.hub import explained, offline, without_its_code
from zoo.files.paths import follow
from zoo.models import known
from zoo.models.head import fuse_activations

logging.disable_progress_bar()  # a bar of a second per load, in the middle of our own lines
_END = "<|endoftext|>"
_REFUSALS = (
    *(StrictDataclassError, ArithmeticError, AssertionError, AttributeError),
    *(LookupError, RuntimeError, TypeError, ValueError),
)
"""What transformers raises for settings that cannot be."""


def load_config(name: str) -> PreTrainedConfig:
    """The architecture of a hub id or folder; weights are not read.

    Raises:
        ConfigError: it is a folder of adapters.
    """
    name = str(follow(name))
    if (settings := Path(name, "adapter_config.json")).is_file() and not Path(name, "config.json").is_file():
        base = json.loads(settings.read_text("utf-8")).get("base_model_name_or_path")
        raise ConfigError(
            f"model {name}: this folder holds adapters of {base} and no model of its own. Start from {base} with "
            f"model.lora, or go on with the run that the folder is of."
        )
    try:
        with explained(name, "model"):
            return AutoConfig.from_pretrained(name, local_files_only=offline(), trust_remote_code=False)
    except UserError:
        if not (devices.is_planned() and name in known.ARCHITECTURES):
            raise
        return make_config(known.ARCHITECTURES[name])


def as_named(name: str) -> str:
    """A hub id as it is, and a folder by its whole path, so that others find it from anywhere."""
    return str(follow(name).absolute()) if follow(name).is_dir() else name


def make_config(settings: dict[str, Any]) -> PreTrainedConfig:
    """An architecture from its `model_type` and any of that type's settings.

    Raises:
        ConfigError: no such type, or a setting that the type does not have.
    """
    kind = str(settings.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise ConfigError(f"model.architecture.model_type is {kind!r}; one of transformers' types: gpt2, llama, …")
    with refused(f"{kind} does not take these settings"):
        config = CONFIG_MAPPING[kind].from_dict(settings)
    known = {*CONFIG_MAPPING[kind]().to_dict(), *config.attribute_map}
    if unknown := settings.keys() - known - {"model_type"}:
        near = [one for word in sorted(unknown) for one in difflib.get_close_matches(word, known, 1)]
        hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(known)}."
        raise ConfigError(f"model.architecture: {kind} has no {', '.join(sorted(unknown))}; {hint}")
    return config


def config_again(settings: dict[str, Any]) -> PreTrainedConfig:
    """The architecture that `to_dict` once gave these settings; real ones have more of them than their type knows."""
    return CONFIG_MAPPING[settings["model_type"]].from_dict(settings)


def set_dropout(config: PreTrainedConfig, probability: float) -> None:
    """Set every dropout that the architecture has, under whatever names."""
    for name, value in config.to_dict().items():
        if type(value) in (int, float) and value != probability and ("dropout" in name or name.endswith("pdrop")):
            set_word(config, name, probability, "model.dropout")


def set_word(config: PreTrainedConfig, name: str, value: Any, key: str) -> None:
    """Set one of the words of an architecture, as zoo's `key` asks for.

    Raises:
        ConfigError: it takes no such value (a whole number, where this family has just a constant).
    """
    try:
        setattr(config, name, value)
    except StrictDataclassError as error:
        raise ConfigError(
            f"{key} is {value}, which {config.model_type} does not take ({_last_line(error)})."
        ) from error


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn what transformers says of an architecture's settings (two that do not divide …) into one line."""
    try:
        with without_its_code("model.architecture"):
            yield
    except UserError:
        raise
    except _REFUSALS as error:
        raise ConfigError(f"model.architecture: {what}: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    """transformers' own validators begin with a line that names none of the settings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if isinstance(error, StrictDataclassError) and lines else next(iter(lines), type(error).__name__)


def build_causal_lm(config: PreTrainedConfig) -> PreTrainedModel:
    """The network with new weights, from torch's global random stream."""
    with refused(f"{config.model_type} cannot be built with these settings"):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    fuse_activations(network)
    return network


def load_causal_lm(name: str, config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The network with the weights of a hub id or folder.

    Args:
        dtype: of its weights. Only what is frozen may have 16 bits.

    Raises:
        MissingInputError: it is not there.
        ConfigError: the weights do not match the architecture.
    """
    if devices.is_planned():
        return build_causal_lm(config)
    name = str(follow(name))
    with explained(name, "model"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            dtype=dtype,
            local_files_only=offline(),
            output_loading_info=True,
            trust_remote_code=False,
        )
    network, report = loaded
    wrong = {
        "missing": report["missing_keys"],
        "unexpected": report["unexpected_keys"],
        "of another shape": [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]],
    }
    if any(wrong.values()):
        found = "; ".join(f"{len(keys)} {kind} ({sorted(keys)[0]})" for kind, keys in wrong.items() if keys)
        raise ConfigError(f"model {name}: the weights do not match {type(network).__name__}: {found}.")
    fuse_activations(network)
    return network


def known_tokens(network: Any, tokenizer: Any) -> int:
    """Numbers of tokens that both the tokenizer and the network know: those below."""
    rows = getattr(network.get_input_embeddings(), "num_embeddings", len(tokenizer))
    return min(len(tokenizer), rows)


def refuse_unknown_tokens(network: Any, tokenizer: Any, ids: torch.Tensor, split: str) -> None:
    """Refuse tokens that the network has no embedding for.

    Raises:
        DataError: a token has no embedding.
    """
    rows = getattr(network.get_input_embeddings(), "num_embeddings", None)
    if rows is not None and (highest := int(ids.max())) >= rows:
        raise DataError(
            f"data.{split} has token {highest:,}, and the network's embedding knows tokens below {rows:,}. The "
            f"tokenizer has {len(tokenizer):,} tokens. Set model.tokenizer to the one of this model."
        )


_PLAIN = (
    "{% for message in messages %}{{ message['role'] + ': ' + (message['content'] or '') + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
"""A chat template that needs no token but EOS, which ends each turn."""


def load_tokenizer(name: str) -> Any:
    if devices.is_planned():
        tokenizer = _stand_in(load_config(name).get_text_config().vocab_size, [_END])
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_END, eos_token=_END, pad_token=_END)
    name = str(follow(name))
    with explained(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(name, local_files_only=offline(), trust_remote_code=False)


def set_chat_template(tokenizer: Any, template: str) -> None:
    """Have the tokenizer write conversations by its own template ("auto"), by none, the plain one, or that of a file.

    Raises:
        MissingInputError: no such file.
    """
    if template == "none":
        tokenizer.chat_template = None
    elif template == "plain":
        tokenizer.chat_template = _PLAIN
    elif template != "auto":
        if not follow(template).is_file():
            raise MissingInputError(
                f"model.chat_template: {template}: no such file; auto, none, plain, or a file with a Jinja template."
            )
        tokenizer.chat_template = follow(template).read_text("utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocab_size` tokens, any text representable, one special token that ends a document.

    Source: Radford et al. 2019 (GPT-2).
    """
    tokenizer = byte_level_bpe(texts, vocab_size, [_END])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_END, eos_token=_END)


def byte_level_bpe(texts: Iterable[str], vocab_size: int, special: list[str]) -> Tokenizer:
    """Byte pairs of a text, the special tokens first.

    Raises:
        ConfigError: so few tokens leave none for every byte.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + len(special):
        least = len(alphabet) + len(special) - 1
        raise ConfigError(f"model.vocab_size is {vocab_size}; more than {least}, as every byte needs a token.")
    if devices.is_planned():
        return _stand_in(vocab_size, special)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def _stand_in(size: int, special: list[str]) -> Tokenizer:
    """For a plan: a tokenizer of which nothing is asked but how many tokens it has, and the special ones."""
    tokens = [*special, *(f"<{i}>" for i in range(size - len(special)))]
    return Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))


def tokenizer_files(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """A tokenizer as plain text by file name, to be carried in a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_text("utf-8") for path in sorted(Path(folder).iterdir())}


def tokenizer_from_files(files: dict[str, str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / Path(name).name).write_text(text, "utf-8")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
