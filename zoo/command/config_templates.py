"""The configs that zoo init writes."""

from collections.abc import Callable
from pathlib import Path

import yaml

from zoo.command import generator_template, languages
from zoo.command.found import Found
from zoo.command.settings.schema import SHIPPED
from zoo.files.paths import printable, shell

BASE, BASE_ANY, BASE_CODE = "gpt2", "Qwen/Qwen3-0.6B-Base", "HuggingFaceTB/SmolLM2-135M"
CHAT, CHAT_ANY = "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B"
"""Language models to start from: of English, of a hundred languages, of programs; for texts, and for conversations."""
READER, READER_ANY = "distilbert/distilbert-base-uncased", "FacebookAI/xlm-roberta-base"
"""Models to tell texts apart with: English ones, and those of a hundred languages."""
WHISPER = "openai/whisper-small"
CLASSIFIER = "vit_small_patch16_224.augreg_in21k"

_TEXT = """\
# yaml-language-server: $schema={schema}
{about}
#   {zoo} fit --config THIS_FILE    train
#   {zoo} test    how good it is on text it has not seen
#   {zoo} predict --prompt {prompt}    {predict}
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
{data}{divided}{documents}    batch_size: {batch}                   # sequences of one step
trainer:
  max_epochs: {epochs}                   # passes over the text
"""
_TEXT_SCRATCH = """\
    # This trains from scratch, which needs no download. With access to the Hugging Face hub, pretrained weights write
    # better text. Put
    #   pretrained: {base}
    # in the place of the next two lines, with lr 5.0e-5, max_length 512 and 3 epochs.
    architecture: {{model_type: gpt2, n_layer: 3, n_head: 4, n_embd: 128, n_positions: 128}}
    vocab_size: {vocab}                 # a byte-level BPE, trained on the text{template}
    max_length: 128                 # tokens of a sequence"""
_TEXT_PRETRAINED = """\
    pretrained: {base}                # {why}
    # From scratch instead:
    #   architecture: {{model_type: gpt2, n_layer: 3, n_head: 4, n_embd: 128, n_positions: 128}}
    #   vocab_size: {vocab}{template}
    max_length: 512                 # tokens of a sequence
    {checkpointing}gradient_checkpointing: true    # a third slower, far less memory"""
_CLASSES = """\
# yaml-language-server: $schema={schema}
{about}
#   {zoo} fit --config THIS_FILE    train
#   {zoo} test    accuracy, confusion matrix, most confident mistakes
#   {zoo} predict --prompt {prompt}    the likeliest classes of a text
# Every key: zoo fit --model zoo.TextClassification --help, zoo fit --data zoo.TextData --help
model:
  class_path: zoo.TextClassification
  init_args:
{network}
    schedule: {schedule}
    warmup_steps: 0.1               # 10 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: {decay}}}
data:
  class_path: zoo.TextData
  init_args:
{data}{divided}    batch_size: 32                  # texts of one step
trainer:
  max_epochs: {epochs}                   # passes over the texts
"""
_CLASSES_SCRATCH = """\
    # This trains from scratch, which needs no download. With the Hugging Face hub in reach, far fewer texts will do.
    # Put
    #   pretrained: {base}
    # in the place of architecture and vocab_size, with lr 3.0e-5, schedule linear, and 3 epochs.
    architecture:
      {{model_type: bert, hidden_size: 128, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 512,
       max_position_embeddings: 256}}
    vocab_size: {vocab}                # a byte-level BPE, trained on the text
    max_length: 256                 # tokens of a text; longer ones are cut, and counted
    dropout: 0.1"""
_CLASSES_PRETRAINED = """\
    pretrained: {base}    # {why}
    max_length: 256                 # tokens of a text; longer ones are cut, and counted
    dropout: 0.1                    # as these models were made with"""
_IMAGES = """\
# yaml-language-server: $schema={schema}
{about}
#   {zoo} fit --config THIS_FILE    train
#   {zoo} test    accuracy, confusion matrix, worst mistakes
#   {zoo} predict --image IMAGE.jpg    the five likeliest classes
# Every key: zoo fit --model zoo.ImageClassification --help, zoo fit --data zoo.ImageData --help
model:
  class_path: zoo.ImageClassification
  init_args:
{network}
    augmentation: {{hflip: {hflip}}}       # 0 where left and right mean something
    schedule: cosine
    warmup_steps: 0.05              # 5 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: 0.05}}
data:
  class_path: zoo.ImageData
  init_args:
{data}{divided}    batch_size: {batch}                  # images of one step
trainer:
  max_epochs: {epochs}                    # passes over the images
"""
_IMAGES_SCRATCH = """\
    # This trains from scratch, which needs no download. With access to the Hugging Face hub, pretrained weights
    # need far fewer images.
    # Put
    #   pretrained: {classifier}
    # in the place of the next two lines, with lr 1.0e-4 and 10 epochs.
    architecture: {{name: vit_tiny_patch16_224, patch_size: {patch}, embed_dim: 96, depth: 6, num_heads: 3}}
    image_size: {side}                  # side of the square that the network sees"""
_IMAGES_PRETRAINED = """\
    pretrained: {classifier}    # any classifier of timm or transformers, or a folder
    # freeze: backbone              # trains the head only: quick, and good with few images"""
_SPEECH = """\
# yaml-language-server: $schema={schema}
{about}
#   {zoo} fit --config THIS_FILE    train
#   {zoo} test    error rates of words and letters, and the worst mistakes
#   {zoo} predict --audio RECORDING.wav    what is said in it
# Every key: zoo fit --model {task} --help, zoo fit --data zoo.SpeechData --help
model:
  class_path: {task}
  init_args:
{network}
    language: {language}                    # of what is said, as en
    schedule: {schedule}
    warmup_steps: 0.1               # 10 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: 0.01}}
data:
  class_path: zoo.SpeechData
  init_args:
{data}{divided}{grouped}    batch_size: {batch}                  # recordings of one step
    group_by_length: {by_length}
trainer:
  max_epochs: {epochs}                    # passes over the recordings
"""
_SPEECH_SCRATCH = """\
    # This trains from scratch, which needs no download, and hours of speech. With access to the Hugging Face hub,
    # Whisper needs far less. Put
    #   pretrained: {whisper}
    # in the place of the next line, with class_path: zoo.SpeechSeq2Seq, lr 1.0e-5 and 3 epochs.
    architecture: {{name: speech_encoder, width: 144, layers: 4}}"""
_SPEECH_PRETRAINED = """\
    pretrained: {whisper}    # Whisper of any size, or a folder"""
_LANGUAGES = {"Devanagari": "hi", "Cyrillic": "ru", "Arabic": "ar", "Chinese": "zh", "Hangul": "ko", "Hiragana": "ja",
              "Katakana": "ja", "Bengali": "bn", "Tamil": "ta", "Telugu": "te", "Thai": "th", "Greek": "el",
              "Hebrew": "he", "Gujarati": "gu", "Gurmukhi": "pa", "Kannada": "kn", "Malayalam": "ml"}  # fmt: skip
"""The language that is most often in a script."""
_HOUR = 3600
_SMALL_TEXT, _LARGE_TEXT = 1_000_000, 10_000_000
_SMALL_IMAGES = 40
_FEW_IMAGES = 1000
_TITLES = 100


def model(found: Found) -> str:
    """The one of the hub to start from; empty for none."""
    if found.kind == "generation":
        return ""  # there is none that all images begin with
    if found.kind == "images":
        return f"timm/{CLASSIFIER}"
    if found.kind == "speech":
        return WHISPER
    if found.language == languages.CODE and found.kind == "text":
        return BASE_CODE
    english, foreign = {"text": (BASE, BASE_ANY), "chat": (CHAT, CHAT_ANY), "classes": (READER, READER_ANY)}[found.kind]
    return english if found.language in (languages.ENGLISH, languages.CODE, "") else foreign


def text(found: Found, about: str, zoo: str, reachable: bool) -> str:
    """For language modelling on texts, prompts with completions, or conversations.

    Args:
        about: what was found, a line each.
        zoo: how zoo is called here.
        reachable: whether weights of the hub can be had; else training starts from scratch.
    """
    language, base = found.language, model(found)
    english = base not in (BASE_ANY, CHAT_ANY)
    pretrained, small = reachable, found.size < _SMALL_TEXT
    vocab = (512 if english else 1024) if small else 4096 if found.size < _LARGE_TEXT else 16384
    needs_template = found.kind == "chat" and not pretrained
    network = (_TEXT_PRETRAINED if pretrained else _TEXT_SCRATCH).format(
        base=base,
        vocab=vocab,
        why="any language model of the hub, or a folder"
        if english
        else f"GPT-2 knows English only; this is {language}",
        template="\n    chat_template: plain            # user: …, assistant: …" if needs_template else "",
        checkpointing="# " if english else "",
    )
    return _TEXT.format(
        schema=_schema(),
        about=_comment(about),
        zoo=zoo,
        prompt=shell(_prompt(found)),
        predict="continue a prompt" if found.kind == "text" else "answer a prompt",
        network=network,
        lr="5.0e-5" if pretrained else "4.0e-3" if small else "1.0e-3",
        decay=0.01 if pretrained else 1.0 if small else 0.1,
        data=_data(found),
        divided=""
        if "validation" in found.sources
        else "    # validation: FILE            # without it: a tenth of train\n",
        documents="    # documents: lines              # what a document is: rows, lines, blank (paragraphs), file\n"
        if found.kind == "text" and "text_column" not in found.settings
        else "",
        batch=16 if pretrained else 8,
        epochs=3 if pretrained else 14 if small else 5,
    )


def classes(found: Found, about: str, zoo: str, reachable: bool) -> str:
    """For telling classes of texts apart."""
    base, small = model(found), found.size < _SMALL_TEXT
    english = "any model of the hub that reads English, or a folder"
    network = (_CLASSES_PRETRAINED if reachable else _CLASSES_SCRATCH).format(
        base=base,
        vocab=1024 if small else 8192,
        why=english if base == READER else "it reads a hundred languages",
    )
    return _CLASSES.format(
        schema=_schema(),
        about=_comment(about),
        zoo=zoo,
        prompt=shell(_prompt(found)),
        network=network,
        schedule="linear" if reachable else "cosine",
        lr="3.0e-5" if reachable else "1.0e-3",
        decay=0.01 if reachable else 0.1,
        data=_data(found),
        divided=""
        if "validation" in found.sources
        else "    # validation: FILE            # without it: a tenth of every class\n",
        epochs=3 if reachable else 10,
    )


def images(found: Found, about: str, zoo: str, reachable: bool) -> str:
    """For telling classes of images apart."""
    small = found.side <= _SMALL_IMAGES
    pretrained = not small and reachable
    network = (_IMAGES_PRETRAINED if pretrained else _IMAGES_SCRATCH).format(
        classifier=CLASSIFIER, side=32 if small else 64, patch=4 if small else 8
    )
    return _IMAGES.format(
        schema=_schema(),
        about=_comment(about),
        zoo=zoo,
        network=network,
        hflip=0.0 if found.signs else 0.5,
        lr="1.0e-4" if pretrained else "1.0e-3",
        data=_data(found),
        divided=""
        if "validation" in found.sources
        else "    # validation: FOLDER          # without it: a tenth of every class\n",
        batch=64 if found.size >= _FEW_IMAGES else 16,
        epochs=10 if pretrained else 30,
    )


def speech(found: Found, about: str, zoo: str, reachable: bool) -> str:
    """For writing down what is said in recordings."""
    spoken = "en" if found.language == languages.ENGLISH else next(
        (code for script, code in _LANGUAGES.items() if script in found.language), "null"
    )  # fmt: skip
    return _SPEECH.format(
        schema=_schema(),
        about=_comment(about),
        zoo=zoo,
        task="zoo.SpeechSeq2Seq" if reachable else "zoo.SpeechCTC",
        network=(_SPEECH_PRETRAINED if reachable else _SPEECH_SCRATCH).format(whisper=WHISPER),
        language=scalar(spoken) if spoken != "null" else spoken,
        schedule="linear" if reachable else "cosine",
        lr="1.0e-5" if reachable else "2.0e-3",
        data=_data(found),
        divided=""
        if "validation" in found.sources
        else "    # validation: FOLDER          # without it: a tenth of train\n",
        grouped=""
        if "group_column" in found.settings
        else "    # group_column: speaker       # a column of the table: whole speakers are held out\n",
        batch=16 if reachable or found.size < _HOUR else 32,
        by_length="false" if reachable else "true",
        epochs=3 if reachable else 40 if found.size < _HOUR else 15,
    )


def generation(found: Found, about: str, zoo: str, reachable: bool) -> str:
    """For making images like these."""
    small = found.side <= _SMALL_IMAGES
    return generator_template.TEXT.format(
        schema=_schema(),
        about=_comment(about),
        zoo=zoo,
        channels=[32, 64, 96, 128] if small else [64, 128, 256, 384],
        side=32 if small else 64,
        lr="5.0e-4" if small else "1.0e-4",
        data=_data(found),
        steps=20_000 if small else 50_000,
        epochs=max(1, round(1000 * 64 / max(1, 0.9 * found.size))),
    )


TEMPLATES: dict[str, Callable[[Found, str, str, bool], str]]
TEMPLATES = {
    "text": text,
    "chat": text,
    "classes": classes,
    "images": images,
    "speech": speech,
    "generation": generation,
}
"""By the kind of what was found."""


def _comment(about: str) -> str:
    return "\n".join(f"# {printable(line)}" for line in about.splitlines())


def copy(config: Path) -> str:
    """A config of zoo, whose editor line leads to the schema from the working directory."""
    lines = config.read_text("utf-8").splitlines(keepends=True)
    return "".join([f"# yaml-language-server: $schema={_schema()}\n", *lines[1:]])


def _schema() -> str:
    """By a relative path where the checkout is below the working directory, or the directory itself."""
    here = Path.cwd()
    return (SHIPPED.relative_to(here) if SHIPPED.is_relative_to(here) else SHIPPED).as_posix()


def _data(found: Found) -> str:
    lines = {**found.sources, **found.settings}
    return "".join(f"    {name}: {scalar(value)}\n" for name, value in lines.items())


def scalar(value: object) -> str:
    """A value as YAML has it, on one line."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    return yaml.safe_dump(value, allow_unicode=True, width=float("inf"), default_style=style).partition("\n")[0]


def _prompt(found: Found) -> str:
    """The first words of the text, to be continued."""
    words = [word for word in found.sample[:_TITLES].split() if any(c.isalpha() for c in word)]
    return " ".join(words[:2])[:30] or "Once"
