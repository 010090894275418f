"""zoo: one command line, one grammar of configs and one training loop for text, images, speech and diffusion.

The public names below are imported when they are first used, so that `import zoo` costs nothing and fine-tuning a
language model never imports what only images need.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.callbacks.ema import EMA as EMA
    from zoo.callbacks.trigram import TrigramBaseline as TrigramBaseline
    from zoo.command.from_python import Run as Run
    from zoo.command.from_python import fit as fit
    from zoo.command.from_python import test as test
    from zoo.data.images import ImageData as ImageData
    from zoo.data.speech import SpeechData as SpeechData
    from zoo.data.text import TextData as TextData
    from zoo.datamodule import DataModule as DataModule
    from zoo.runs.run import load as load
    from zoo.samples import ChatSample as ChatSample
    from zoo.samples import CompletionSample as CompletionSample
    from zoo.samples import ImageRequest as ImageRequest
    from zoo.samples import ImageSample as ImageSample
    from zoo.samples import Processor as Processor
    from zoo.samples import SpeechSample as SpeechSample
    from zoo.samples import TextSample as TextSample
    from zoo.task import Task as Task
    from zoo.tasks.causal_lm import CausalLM as CausalLM
    from zoo.tasks.diffusion import Diffusion as Diffusion
    from zoo.tasks.image_classification import ImageClassification as ImageClassification
    from zoo.tasks.speech_ctc import SpeechCTC as SpeechCTC
    from zoo.tasks.speech_seq2seq import SpeechSeq2Seq as SpeechSeq2Seq
    from zoo.tasks.text_classification import TextClassification as TextClassification
    from zoo.trainer import Trainer as Trainer

__version__ = "0.1.0"

_HOMES = {
    name: module
    for module, name in re.findall(
        r"^    from (zoo\.\S+) import (\w+) as \2$", Path(__file__).read_text("utf-8"), re.MULTILINE
    )
}
"""Public names, and the modules that they come from: the imports above, which only type checkers follow."""
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    if "torch" not in sys.modules:
        from zoo.command import memory_settings

        memory_settings.set_all()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
