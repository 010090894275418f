"""What a row of a table is: a text, a prompt with its completion, or a conversation. Told by its columns.

| columns                                  | sample                                                      |
|------------------------------------------|-------------------------------------------------------------|
| the one that data.text_column names      | TextSample                                                  |
| messages: role and content               | ChatSample                                                  |
| conversations: from and value (ShareGPT) | ChatSample; human is user, gpt is assistant                 |
| dialogue, dialog: texts                  | ChatSample; the user and the assistant in turn              |
| prompt, completion                       | CompletionSample                                            |
| instruction, output (Alpaca)             | CompletionSample: the instruction, an empty line, the input |
|                                          | and an empty line if there is one; then the output          |
| text                                     | TextSample                                                  |

With names of one's own in data.text_column, data.prompt_column, data.completion_column and data.label_column.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from zoo.files import sources
from zoo.files.forms import Form, RowError, class_name
from zoo.files.sources import Columns, Wanted
from zoo.files.tables import Reading
from zoo.samples import ChatSample, CompletionSample, TextSample

ROLES = ("system", "developer", "user", "assistant", "tool")
DIALOGUES = ("dialogue", "dialog")
_SHAREGPT = {"human": "user", "gpt": "assistant"}
LABEL = "label"
"""What the class of a text is called where it is kept."""
Values = tuple[str | None, ...]


@dataclass(frozen=True)
class Names:
    """What the user says that columns are called; None to find out.

    Args:
        label: of documents; None for documents without.
    """

    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
    label: str | None = None


def find(columns: Collection[str], names: Names, prompts: bool = False, join: str | None = None) -> Form | str:
    """The form of rows with these columns, or what is to be said of them: "has no column …".

    Args:
        prompts: the rows are to be continued, so a completion is not needed.
        join: all rows of a file are one document, with this between them.
    """
    for setting, name in vars(names).items():
        if name is not None and name not in columns and not (prompts and setting in ("completion", "label")):
            return f"has no column '{name}' (columns: {', '.join(columns)}). Set data.{setting}_column to one of them."
    if names.text is not None or (join is not None and "text" in columns):
        return text(names.text or "text", names.label, join)
    form = _found(columns, names, prompts)
    if form is not None and join is not None:
        return (
            f"has {form.name}, which cannot be joined to one document. Set data.text_column, or data.documents: auto."
        )
    return form or (
        f"has no column 'text' (columns: {', '.join(columns)}), nor those of prompts or conversations. "
        f"Set data.text_column to the one that holds the text."
    )


def wanted(
    names: Names, reading: Reading, join: str | None, subset: str | None, limit: int | None, prompts: bool = False
) -> Wanted:
    """What is taken of a source. Args: as in `find`, and as in Wanted."""

    def form(columns: Columns | None) -> Form | str:
        return text("text") if columns is None else find(columns, names, prompts, join)

    return Wanted(form, "text", reading, subset, limit)


def look(path: Path, settings: Mapping[str, Any]) -> None:
    """What `TextData` with these settings would refuse of a file, without torch: see `sources.look`."""
    documents = settings.get("documents", "auto")
    reading = sources.reading_of(settings, documents if documents in ("lines", "blank") else "file")
    names = Names(*(settings.get(f"{name}_column") for name in ("text", "prompt", "completion", "label")))
    join = settings.get("join", "\n") if documents == "file" else None
    sources.look(path, wanted(names, reading, join, None, settings.get("limit")))


def _found(columns: Collection[str], names: Names, prompts: bool) -> Form | None:
    prompt, completion = names.prompt or "prompt", names.completion or "completion"
    if names.prompt is None and names.completion is None:
        if "messages" in columns:
            return chat("messages", "role", "content")
        if "conversations" in columns:
            return chat("conversations", "from", "value")
        if spoken := next((name for name in DIALOGUES if name in columns), None):
            return chat(spoken, "role", "content")
    if prompt in columns and (prompts or completion in columns):
        return _completion(prompt, None, None if prompts else completion)
    if "instruction" in columns and (prompts or "output" in columns):
        return _completion("instruction", "input" if "input" in columns else None, None if prompts else "output")
    return text("text", names.label) if "text" in columns else None


def text(column: str, label: str | None = None, join: str | None = None) -> Form:
    def take(row: dict[str, Any]) -> Values:
        found = _text(row, column)
        if not found.strip():
            return ()
        return (found,) if label is None else (found, class_name(row, label))

    columns = (column,) if label is None else (column, label)
    stored = pa.schema([(name, pa.large_string()) for name in ("text", LABEL)[: len(columns)]])
    return Form("documents", columns, stored, take, TextSample, plain=True, join=join)


def _completion(prompt: str, addition: str | None, completion: str | None) -> Form:
    def take(row: dict[str, Any]) -> Values:
        begin = _text(row, prompt)
        if prompt == "instruction":
            begin = "".join(f"{part}\n\n" for part in (begin, _text(row, addition) if addition in row else "") if part)
        end = _text(row, completion) if completion else ""
        return (begin, end) if (end if completion else begin).strip() else ()

    columns = tuple(name for name in (prompt, addition, completion) if name)
    what = "prompts with completions" if completion else "prompts"
    stored = pa.schema([(name, pa.large_string()) for name in ("prompt", "completion")])
    return Form(f"{what} ({', '.join(columns)})", columns, stored, take, CompletionSample)


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
        if column in DIALOGUES:
            messages = [_turn(message, number) for number, message in enumerate(messages)]
        found = [_message(message, number, role, content) for number, message in enumerate(messages, 1)]
        try:
            return (json.dumps(found, ensure_ascii=False, default=str),)  # a parquet may have dates
        except RecursionError as error:
            raise RowError(f"has brackets in brackets for '{column}', too deep to be read") from error

    stored = pa.schema([("messages", pa.large_string())])
    return Form(f"conversations ({column})", (column,), stored, take, _conversation)


def _conversation(messages: str) -> ChatSample:
    return ChatSample(json.loads(messages))


def _parsed(messages: str, column: str) -> Any:
    try:
        return json.loads(messages)
    except (ValueError, RecursionError) as error:
        raise RowError(f"has {_shown(messages)} for '{column}'; expected a list of messages") from error


def _turn(message: Any, number: int) -> Any:
    """A message of a text alone: the user begins, and the assistant answers."""
    return {"role": ROLES[2 + number % 2], "content": message} if isinstance(message, str) else message


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
    try:
        shown = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        shown = "brackets in brackets …"
    return shown if len(shown) < 40 else f"{shown[:36]} …"
