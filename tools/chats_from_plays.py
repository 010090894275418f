"""Conversations out of a play: what one speaker says is the user's, what the next one answers the assistant's.

    uv run python tools/chats_from_plays.py tinyshakespeare.txt chats.jsonl --count 400

A play is text in which a speech is a line with the speaker's name and a colon, lines of speech, and an empty line.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path


def speeches(text: str) -> list[tuple[str, str]]:
    """(speaker, what is said), in their order."""
    found = []
    for block in text.split("\n\n"):
        name, colon, said = block.strip().partition(":\n")
        if colon and "\n" not in name:
            found.append((name, said.strip()))
    return found


def chats(text: str, longest: int) -> list[list[dict[str, str]]]:
    """Exchanges of two speakers; each speech is used once."""
    found, used = [], False
    for (asks, question), (answers, answer) in pairwise(speeches(text)):
        if used or asks == answers or max(len(question), len(answer)) > longest:
            used = False
            continue
        system = f"You are {answers.title()}, in a play by Shakespeare. Answer {asks.title()} in one speech."
        roles = (("system", system), ("user", question), ("assistant", answer))
        found.append([{"role": role, "content": content} for role, content in roles])
        used = True
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("play", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--longest", type=int, default=300, help="characters of a speech")
    args = parser.parse_args()
    found = chats(args.play.read_text("utf-8"), args.longest)
    step = max(1, len(found) // args.count)
    chosen = found[::step][: args.count]
    args.output.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chosen), "utf-8")
    print(f"{args.output}: {len(chosen)} of {len(found)} exchanges")


if __name__ == "__main__":
    main()
