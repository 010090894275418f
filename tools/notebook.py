"""Write the notebook of the first tutorial, docs/tutorials/first_run.ipynb, out of its page.

    uv run python tools/notebook.py

Prose becomes text cells. Each command becomes a code cell of its own. Sections that need a keyboard (Ctrl-C) or the
installation of zoo are left out.
"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "tutorials" / "first_run.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
_LEFT_OUT = ("Install", "Stop it", "Change something")
_BEGIN = """\
# The folder of the clone, where configs/ is
%cd ../.."""


def notebook() -> str:
    head, *sections = re.split(r"^(?=## )", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    kept = [head, *(s for s in sections if not s.startswith(tuple(f"## {name}" for name in _LEFT_OUT)))]
    cells = [_text(head), _code(_BEGIN)]
    for section in kept[1:]:
        for prose, commands in re.findall(r"(.*?)(?:^```sh\n(.*?)^```|\Z)", section, re.DOTALL | re.MULTILINE):
            cells += [_text(prose)] if prose.strip() else []
            cells += [_code(f"!{line}") for line in commands.splitlines()]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.strip()}


def _code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), "utf-8")
    print(f"written: {NOTEBOOK.name}")
