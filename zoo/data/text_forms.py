"""What a row of a table is: a text, a prompt with its completion, or a conversation. Told by its columns.

| columns                                  | sample                                                      |
|------------------------------------------|-------------------------------------------------------------|
| the one that data.text_column names      | TextSample                                                  |
| messages: role and content               | ChatSample                                                  |
| conversations: from and value (ShareGPT) | ChatSample; human is user, gpt is assistant                 |
| prompt, completion                       | CompletionSample                                            |
| instruction, output (Alpaca)             | CompletionSample: the instruction, an empty line, the input |
|                                          | and an empty line if there is one; then the output          |
| text                                     | TextSample                                                  |
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.samples import ChatSample, CompletionSample, TextSample

ROLES = ("system", "developer", "user", "assistant", "tool")
_SHAREGPT = {"human": "user", "gpt": "assistant"}
Values = tuple[str, ...]


class RowError(Exception):
    """A row that cannot be used, and why: what follows "a.jsonl line 3 "."""


@dataclass(frozen=True)
class Form:
    """How rows become samples, in two steps: texts that Arrow can hold, and the sample made of them.

    Args:
        name: what the rows are, for the screen.
        columns: those of the source that are needed.
        stored: names of the texts.
        take: the texts of a row; empty where there is nothing to learn from.
        make: the sample of the texts.
    """

    name: str
    columns: tuple[str, ...]
    stored: tuple[str, ...]
    take: Callable[[dict[str, Any]], Values]
    make: Callable[..., Any]


def find(columns: Sequence[str], text_column: str | None, prompts: bool = False) -> Form | None:
    """The form of rows with these columns, None if there is none.

    Args:
        text_column: what the user says the text is in.
        prompts: the rows are to be continued, so a completion is not needed.
    """
    has = set(columns)
    if text_column is not None:
        return text(text_column) if text_column in has else None
    if "messages" in has:
        return chat("messages", "role", "content")
    if "conversations" in has:
        return chat("conversations", "from", "value")
    if "prompt" in has and (prompts or "completion" in has):
        return _completion("prompt", None, None if prompts else "completion")
    if "instruction" in has and (prompts or "output" in has):
        return _completion("instruction", "input" if "input" in has else None, None if prompts else "output")
    return text("text") if "text" in has else None


def text(column: str) -> Form:
    def take(row: dict[str, Any]) -> Values:
        found = _text(row, column)
        return (found,) if found.strip() else ()

    return Form("documents", (column,), ("text",), take, TextSample)


def _completion(prompt: str, addition: str | None, completion: str | None) -> Form:
    def take(row: dict[str, Any]) -> Values:
        begin = _text(row, prompt)
        if prompt == "instruction":
            begin = "".join(f"{part}\n\n" for part in (begin, _text(row, addition) if addition in row else "") if part)
        end = _text(row, completion) if completion else ""
        return (begin, end) if (end if completion else begin).strip() else ()

    columns = tuple(name for name in (prompt, addition, completion) if name)
    what = "prompts with completions" if completion else "prompts"
    return Form(f"{what} ({', '.join(columns)})", columns, ("prompt", "completion"), take, CompletionSample)


def _text(row: dict[str, Any], column: str) -> str:
    """The text in a cell; a null is an empty one."""
    if column not in row:
        raise RowError(f"lacks '{column}' (has {', '.join(repr(name) for name in row) or 'nothing'})")
    value = row[column]
    if value is not None and not isinstance(value, str):
        raise RowError(f"has {_shown(value)} for '{column}', which is no text")
    return value or ""


# Conversations --------------------------------------------------------------------------------------------------


def chat(column: str, role: str, content: str) -> Form:
    def take(row: dict[str, Any]) -> Values:
        if column not in row:
            raise RowError(f"lacks '{column}' (has {', '.join(repr(name) for name in row) or 'nothing'})")
        messages = row[column]
        if isinstance(messages, str):  # a cell of a .csv
            messages = _parsed(messages, column)
        if not isinstance(messages, (list, tuple)) or not messages:
            raise RowError(f"has {_shown(messages)} for '{column}'; expected a list of messages")
        found = [_message(message, number, role, content) for number, message in enumerate(messages, 1)]
        return (json.dumps(found, ensure_ascii=False),)

    return Form(f"conversations ({column})", (column,), ("messages",), take, _conversation)


def _conversation(messages: str) -> ChatSample:
    return ChatSample(json.loads(messages))


def _parsed(messages: str, column: str) -> Any:
    try:
        return json.loads(messages)
    except ValueError as error:
        raise RowError(f"has {_shown(messages)} for '{column}'; expected a list of messages") from error


def _message(message: Any, number: int, role: str, content: str) -> dict[str, Any]:
    """A message with role and content, and what else it has: a table gives every message the keys of all."""
    if not isinstance(message, dict):
        raise RowError(f"has {_shown(message)} as message {number}; expected an object with {role} and {content}")
    who, what = message.get(role), message.get(content)
    if who is None:
        raise RowError(f"has no '{role}' in message {number}")
    if (who := _SHAREGPT.get(str(who), who) if role == "from" else who) not in ROLES:
        raise RowError(f"has {role} {_shown(who)} in message {number}; expected one of {', '.join(ROLES)}")
    if what is None and not message.get("tool_calls"):
        raise RowError(f"has no '{content}' in message {number}")
    if not isinstance(what, (str, type(None))):
        raise RowError(f"has {_shown(what)} for '{content}' in message {number}, which is no text")
    others = {name: value for name, value in message.items() if name not in (role, content) and value is not None}
    return {"role": who, "content": what, **others}


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) < 40 else f"{shown[:36]} …"
