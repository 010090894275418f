"""The parser's report of a wrong setting in one line, where it could not be told before the imports (settings/)."""

import re

_NOISE = re.compile(
    r"^(Does not validate|Subtypes:|Errors:|Expected a path but|Given value type:|Parser key|Problem with|Given|$"
    r"|[0-9]+ validation error|For further information)"  # pydantic, of a number with a range
)


def readable(message: str) -> str:
    """One line for a message of jsonargparse: the key, what it did not take, and what it was given."""
    if unknown := re.search(r"(?:Subcommand|Group) '?\w+'? does not accept (?:nested )?option '([\w.+]+)'", message):
        return f"unknown key {unknown[1]}."
    if unknown := re.search(r"unrecognized arguments: (?:--)?([\w.]+)", message):
        return f"unknown flag --{unknown[1]}."
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    if unknown := re.search(r"Option '([\w.]+)' is not accepted", message):
        return f"unknown key {key}.{unknown[1]}."
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    reasons = [line for line in lines if not _NOISE.match(line)]
    reasons = [line for line in reasons if "NoneType" not in line] or reasons
    if not key or not reasons:
        return re.sub(r"\s+", " ", message)
    reason = re.sub(r"<class '([\w.]+)'>", lambda name: name[1].rpartition(".")[2], reasons[0])
    reason = re.sub(r"^Expected an? (\w+)", r"expected \1", reason)
    reason = re.sub(r"^Type .+? expects a function or a callable class: ", "", reason)
    reason = reason.split(". Got value: Namespace")[0]
    reason = re.sub(r" \[type=.*input_value=(.*), input_type=.*\]$", r"; found \1", reason)
    given = re.search(r"Given value: (.*)", message)
    found = f"; found {given[1]!r}" if given and "Got value" not in reason and "{" not in given[1] else ""
    return f"{key}: {reason}{found}."
