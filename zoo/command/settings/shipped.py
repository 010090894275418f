"""The configs that come with zoo, which every folder can name: --config quickstart, --config overlays/wandb."""

from pathlib import Path

from zoo.files.paths import exists, expanded

_PACKAGE = Path(__file__).parents[2]


def folder() -> Path:
    """Inside the installed package; at the top of a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """quickstart, …, then overlays/early_stopping, …"""
    paths = sorted(folder().rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return [path.relative_to(folder()).with_suffix("").as_posix() for path in paths]


def find(typed: str) -> tuple[Path, str]:
    """The file that --config names, and what it is called in a line about it.

    A file of the working directory comes first, with or without .yaml; then the config of zoo that has this name.
    """
    stem = typed.removesuffix(".yaml")
    for path, name in ((expanded(typed), typed), (expanded(f"{stem}.yaml"), f"{stem}.yaml")):
        if exists(path) and not path.is_dir():
            return path, name
    ours = stem.removeprefix("configs/")
    return (folder() / f"{ours}.yaml", f"{ours}.yaml") if ours in names() else (expanded(typed), typed)
