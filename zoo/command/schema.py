"""zoo schema: write the schema that editors and the fast checks use, from the signatures of what is installed."""

import json
from pathlib import Path

from zoo.command.settings import schema
from zoo.errors import ConfigError
from zoo.files.paths import write_text

USAGE = """\
zoo schema [FILE] writes the schema by which editors complete and check configs. Without FILE it writes the one that
ships with zoo, in a checkout of it. A config names its schema in the first line:
# yaml-language-server: $schema=../zoo/command/schema.json
The schema that ships with zoo describes zoo's keys only. Another FILE describes those of torch and Lightning too."""


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    if len(argv) > 1 or (argv and argv[0].startswith("-")):
        raise ConfigError(f"zoo schema takes one file; found {' '.join(argv)!r}.")
    path = Path(argv[0]) if argv else _shipped()
    from zoo.command.settings import write_schema

    content = write_schema.schema(others_words=path != schema.SHIPPED)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {path}")
    return 0


def _shipped() -> Path:
    if (schema.SHIPPED.parents[2] / "pyproject.toml").is_file():
        return schema.SHIPPED
    raise ConfigError("zoo schema needs a file to write to: zoo schema FILE.")
