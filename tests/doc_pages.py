"""What the pages of docs/ and the README hold that can be run: commands, files, Python, and what is printed."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        kind: its language; `sh` has commands that are run, `bash` others, `console` commands with their output.
        title: name of a file that the reader is told to make with this content; empty for none.
    """

    kind: str
    title: str
    text: str


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for indent, kind, rest, text in _FENCE.findall(self.text):
            title = re.search(r'title="([^"]+)"', rest)
            body = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            found.append(Block(kind, title[1] if title else "", body))
        return found

    @property
    def commands(self) -> list[str]:
        """The command lines of its `sh` blocks, without comments."""
        lines = "".join(block.text for block in self.blocks if block.kind == "sh").replace("\\\n", " ").splitlines()
        return [line.partition(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]

    @property
    def zoo_commands(self) -> list[str]:
        return [line.removeprefix("uv run zoo ") for line in self.commands if line.startswith("uv run zoo ")]

    @property
    def files(self) -> list[Block]:
        return [block for block in self.blocks if block.title]


PAGES = [Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]]
