"""What Whisper reads and writes: a prompt, text, and timestamps, all of them tokens.

t tokens
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_TICK = 0.02
"""Seconds from one timestamp to the next."""
_NO_SPACES = frozenset(["zh", "ja", "th", "lo", "my", "yue"])
"""Languages that are written without spaces between words."""
Times = Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Prompt:
    """The tokens that tell Whisper what to do. The English-only models have neither language nor task.

    Args:
        start: token that the decoder begins with; it differs between multilingual and English-only models.
        further: of language and task.
        no_timestamps: token that says that there are none.
        end: token that ends a transcript; in English-only models it is the padding as well.
        language: code, as hi; "" where it is not known.
    """

    start: int
    further: tuple[int, ...]
    no_timestamps: int
    end: int
    language: str = ""

    @property
    def first_timestamp(self) -> int:
        return self.no_timestamps + 1

    def tokens(self, timestamps: bool) -> list[int]:
        return [self.start, *self.further, *([] if timestamps else [self.no_timestamps])]

    def written(self, text: str) -> str:
        """A text as Whisper writes it: after a space, in languages that have spaces."""
        return text.strip() if self.language in _NO_SPACES else " " + text.strip()


def transcript(tokenizer: Any, prompt: Prompt, text: str) -> list[int]:
    """Tokens of a text and of its end."""
    return [*_of(tokenizer, prompt.written(text)), prompt.end]


def timed_transcript(tokenizer: Any, prompt: Prompt, times: Times, seconds: float) -> list[int]:
    """Tokens of segments, each between its timestamps, and of the end.

    Args:
        times: (start, end, text), in seconds of the recording.
        seconds: how long the recording is.
    """
    ids: list[int] = []
    for start, end, text in times:
        ticks = [round(min(max(0.0, t), seconds, 30.0) / _TICK) for t in (start, end)]
        ids += [prompt.first_timestamp + ticks[0], *_of(tokenizer, prompt.written(text))]
        ids += [prompt.first_timestamp + ticks[1]]
    return [*ids, prompt.end]


def _of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def segments(tokenizer: Any, prompt: Prompt, ids: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """What was generated with timestamps as (start, end, text). What has no end goes on until the recording's.

    Args:
        ids: without the prompt.
        seconds: how long the recording is.
    """
    found: list[dict[str, Any]] = []
    begin = 0.0
    tokens: list[int] = []

    def close(end: float) -> None:
        if said := decoded(tokenizer, tokens):
            found.append({"start": round(begin, 2), "end": round(min(end, seconds), 2), "text": said})
        tokens.clear()

    for token in ids:
        if token < prompt.first_timestamp:
            tokens.append(token)
            continue
        time = (token - prompt.first_timestamp) * _TICK
        close(time)
        begin = time
    close(seconds)
    return found


def decoded(tokenizer: Any, ids: Iterable[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()


def words(tokenizer: Any, prompt: Prompt, ids: Sequence[int], times: Sequence[float]) -> list[dict[str, Any]]:
    """Words with their times, of tokens with theirs. A word begins with a space; without spaces, with a letter.

    A word begins where the one before it ends: a pause belongs to the word after it.

    Args:
        ids: without the prompt; timestamps and special tokens are left out.
        times: when each token ends, in seconds.
    """
    special = set(tokenizer.all_special_ids)
    found: list[dict[str, Any]] = []
    waiting: list[int] = []
    begin = 0.0
    for i, token in enumerate(ids):
        if token >= prompt.start or token in special:
            continue
        begin = begin if waiting else times[i - 1] if i else 0.0
        waiting.append(token)
        piece = tokenizer.decode(waiting, clean_up_tokenization_spaces=False)
        if "\N{REPLACEMENT CHARACTER}" in piece:
            continue  # a letter of several tokens is not whole yet
        is_new = piece.startswith(" ") or (prompt.language in _NO_SPACES and piece.strip().isalnum())
        if is_new or not found:
            found.append({"word": piece.strip(), "start": round(begin, 2), "end": round(times[i], 2)})
        else:
            found[-1] = {**found[-1], "word": found[-1]["word"] + piece, "end": round(times[i], 2)}
        waiting = []
    return [word for word in found if word["word"]]
