"""The configs that zoo init writes."""

from pathlib import Path

from zoo.commands.looking import Found
from zoo.settings.schema import SHIPPED

_TEXT = """\
# yaml-language-server: $schema={schema}
# {about}
#   uv run zoo fit --config THIS_FILE                  train
#   uv run zoo test                                    how good it is on text it has not seen
#   uv run zoo predict --prompt "Once"                 continue a prompt
# Every key: zoo fit --model zoo.CausalLM --help, zoo fit --data zoo.TextData --help
model:
  class_path: zoo.CausalLM
  init_args:
{network}
    schedule: cosine
    warmup_steps: 0.03              # 3 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: {decay}}}
data:
  class_path: zoo.TextData
  init_args:
    train: {source}
    # validation: {validation}       # without it: a tenth of the training text
    # documents: lines              # what a document is: rows, lines, blank (paragraphs), file
{settings}    batch_size: {batch}                   # windows of one step; the card decides how many at a time
trainer:
  max_epochs: {epochs}                   # passes over the text
"""
_TEXT_SCRATCH = """\
    # Learns from nothing. With the hub in reach, better text comes from weights that know the language already: put
    #   pretrained: gpt2
    # in the place of the next two lines, with lr 5.0e-5, max_length 512 and 3 epochs.
    architecture: {{model_type: gpt2, n_layer: 3, n_head: 4, n_embd: 128, n_positions: 128}}
    vocab_size: {vocab}                 # a byte-level BPE, trained on the text
    max_length: 128                 # tokens of a window"""
_TEXT_PRETRAINED = """\
    pretrained: gpt2                # any language model of the hub, or a folder; instead, from nothing:
    #   architecture: {{model_type: gpt2, n_layer: 3, n_head: 4, n_embd: 128, n_positions: 128}}
    #   vocab_size: {vocab}
    max_length: 512                 # tokens of a window
    # gradient_checkpointing: true  # a third slower, far less memory"""
_CHAT = """\
    pretrained: HuggingFaceTB/SmolLM2-135M-Instruct   # any model with a chat template, of the hub or a folder
    max_length: 512                 # tokens of a window; what is learned of three samples: --data.show 3
    # gradient_checkpointing: true  # a third slower, far less memory"""
_IMAGES = """\
# yaml-language-server: $schema={schema}
# {about}
#   uv run zoo fit --config THIS_FILE                  train
#   uv run zoo test                                    accuracy, confusion matrix, worst mistakes
#   uv run zoo predict --image PICTURE                 the five likeliest classes
# Every key: zoo fit --model zoo.ImageClassification --help, zoo fit --data zoo.ImageData --help
model:
  class_path: zoo.ImageClassification
  init_args:
{network}
    augmentation: {{flip: 0.5}}       # 0 where left and right mean something
    schedule: cosine
    warmup_steps: 0.05              # 5 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: 0.05}}
data:
  class_path: zoo.ImageData
  init_args:
    train: {source}
    # validation: {source}_validation   # without it: a tenth of every class
{settings}    batch_size: {batch}                  # pictures of one step; the card decides how many at a time
trainer:
  max_epochs: {epochs}                    # passes over the pictures
"""
_IMAGES_SCRATCH = """\
    # Learns from nothing. With the hub in reach, far fewer pictures will do: put
    #   pretrained: vit_small_patch16_224.augreg_in21k
    # in the place of the next two lines, with lr 1.0e-4 and 10 epochs.
    architecture: {name: vit_tiny_patch16_224, patch_size: 8, embed_dim: 96, depth: 6, num_heads: 3}
    image_size: 64                  # side of the square that the network sees"""
_IMAGES_PRETRAINED = """\
    pretrained: vit_small_patch16_224.augreg_in21k    # any classifier of timm or transformers, or a folder
    # freeze: backbone              # only the head learns: quick, and good with few pictures"""
_SMALL_TEXT, _LARGE_TEXT = 1_000_000, 10_000_000


def text(found: Found, pretrained: bool) -> str:
    """For language modelling on one's own text.

    Args:
        pretrained: start from GPT-2's weights; else from nothing, which needs no download.
    """
    small = found.size < _SMALL_TEXT
    vocab = 512 if small else 4096 if found.size < _LARGE_TEXT else 16384
    network = _TEXT_PRETRAINED if pretrained else _TEXT_SCRATCH
    if found.dialogue:  # from nothing, nobody learns to converse
        network, pretrained = _CHAT, True
    source = Path(found.source)
    return _TEXT.format(
        schema=_schema(),
        about=found.line or "A language model on your own text: put the name of your file at data.train.",
        network=network.format(vocab=vocab),
        lr="5.0e-5" if pretrained else "4.0e-3" if small else "1.0e-3",
        decay=0.01 if pretrained else 1.0 if small else 0.1,
        source=_quoted(found.source),
        validation=_quoted(str(source.with_name(f"validation{source.suffix or '.txt'}"))),
        settings=_settings(found),
        batch=16 if pretrained else 8,
        epochs=3 if pretrained else 14 if small else 5,
    )


def images(found: Found, pretrained: bool) -> str:
    """For telling classes of one's own pictures apart."""
    return _IMAGES.format(
        schema=_schema(),
        about=found.line
        or "A classifier of your own pictures, a folder for each class: put their folder at data.train.",
        network=_IMAGES_PRETRAINED if pretrained else _IMAGES_SCRATCH,
        lr="1.0e-4" if pretrained else "1.0e-3",
        source=_quoted(found.source),
        settings=_settings(found),
        batch=64 if found.size >= 1000 else 16,
        epochs=10 if pretrained else 30,
    )


def _schema() -> str:
    """By a relative path where the checkout is below the working directory, or the directory itself."""
    here = Path.cwd()
    return (SHIPPED.relative_to(here) if SHIPPED.is_relative_to(here) else SHIPPED).as_posix()


def _settings(found: Found) -> str:
    return "".join(f"    {name}: {_quoted(value)}\n" for name, value in found.settings.items())


def _quoted(word: str) -> str:
    """As YAML has it: plain where nothing in it could be taken for something else."""
    plain = word and all(c.isalnum() or c in "/._-" for c in word) and not word[0].isdigit() and word[0] not in "-."
    return (
        word
        if plain and word.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        else f"'{word}'"
    )
