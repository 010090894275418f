"""Conversations as the text that a model's own chat template makes of them, and which parts of it carry loss."""

from typing import Any

from zoo.errors import ConfigError, DataError
from zoo.samples import ChatSample, CompletionSample

Span = tuple[int, int]
Rendered = tuple[str, list[Span]]
"""A text, and the spans of its characters that carry loss."""


def rendered(tokenizer: Any, sample: ChatSample | CompletionSample) -> list[Rendered]:
    """What the assistant says carries loss, up to the marker that ends its turn.

    A template may treat a turn otherwise once another follows (some drop what was thought). Then the conversation
    becomes one text for each turn of the assistant, of which that turn alone carries loss.
    """
    if isinstance(sample, CompletionSample):
        if tokenizer.chat_template is None:
            text = sample.prompt + sample.completion
            return [(text, [(len(sample.prompt), len(text))])]
        sample = as_chat(sample)
    turns = [i for i, message in enumerate(sample.messages) if message.get("role") == "assistant"]
    whole = _render(tokenizer, sample.messages)
    spans = [_span(tokenizer, sample.messages, i, whole) for i in turns]
    if None not in spans:
        return [(whole, [span for span in spans if span])]
    return [_turn(tokenizer, sample.messages[: i + 1]) for i in turns]


def prompt(tokenizer: Any, messages: list[dict[str, Any]]) -> str:
    """The conversation so far, up to where the assistant begins."""
    return _render(tokenizer, messages, add_generation_prompt=True)


def end_of_turn(tokenizer: Any) -> str:
    """What the template writes after an answer; nothing where it refuses to say."""
    said = "said so"
    try:
        text = _render(tokenizer, as_chat(CompletionSample("asked", said)).messages)
    except DataError:
        return ""
    return text.rpartition(said)[2].strip()


def as_chat(sample: CompletionSample) -> ChatSample:
    return ChatSample([{"role": "user", "content": sample.prompt}, {"role": "assistant", "content": sample.completion}])


def _turn(tokenizer: Any, messages: list[dict[str, Any]]) -> Rendered:
    text = _render(tokenizer, messages)
    if (span := _span(tokenizer, messages, len(messages) - 1, text)) is None:
        raise ConfigError(
            "the chat template writes the beginning of a conversation differently when the assistant's answer follows, "
            "so the tokens that carry loss cannot be found. Set model.chat_template to a file with another one."
        )
    return text, [span]


def _span(tokenizer: Any, messages: list[dict[str, Any]], turn: int, whole: str) -> Span | None:
    """Where in the whole text this turn of the assistant is; None if the text does not simply grow by it."""
    before, until = prompt(tokenizer, messages[:turn]), _render(tokenizer, messages[: turn + 1])
    grows = whole.startswith(until) and until.startswith(before)
    return (len(before), len(until.rstrip())) if grows else None


def _render(tokenizer: Any, messages: list[dict[str, Any]], **how: Any) -> str:
    if tokenizer.chat_template is None:
        raise ConfigError(
            "the data are conversations, and this model's tokenizer has no chat template. Start from an instruct "
            "model, or set model.chat_template to a file with a Jinja template."
        )
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **how)
    except Exception as error:  # templates raise what they like
        said = str(error).strip().partition("\n")[0]
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise DataError(f"the chat template refuses a conversation of {roles}: {said}.") from error
