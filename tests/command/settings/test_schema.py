"""The schema that ships says what the classes take."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from jsonargparse._parameter_resolvers import get_signature_parameters

from zoo.command.settings import schema, write_schema

ROOT = Path(__file__).parent.parent.parent.parent
SHIPPED = json.loads(schema.SHIPPED.read_text("utf-8"))


@pytest.fixture(scope="module")
def made() -> dict:
    return json.loads(json.dumps(write_schema.schema(others_words=False)))


def test_the_shipped_schema_is_current(made: dict):
    same_versions = made["x-versions"] == SHIPPED["x-versions"]
    names = [
        name for name in made["definitions"] if same_versions or (name.startswith("zoo.") and name != "zoo.Trainer")
    ]
    changed = [name for name in names if made["definitions"][name] != SHIPPED["definitions"].get(name)]
    gone = [name for name in SHIPPED["definitions"] if name.startswith("zoo.") and name not in made["definitions"]]
    assert (changed, gone) == ([], []), "write it anew: uv run zoo schema"


def test_descriptions_of_zoo_are_whole_sentences(made: dict):
    cut = [
        f"{name}.{key}"
        for name, found in made["definitions"].items()
        for key, expected in found.get("properties", {}).items()
        if name.startswith("zoo.") and not expected.get("description", ".").endswith(".")
    ]
    assert cut == []


def test_the_ranges_of_the_constructors_are_in_the_schema(made: dict):
    data = made["definitions"]["zoo.TextData"]["properties"]
    assert data["batch_size"]["minimum"] == 1
    assert {"type": "integer", "minimum": 1} in data["eval_batch_size"]["anyOf"]
    assert (data["validation_fraction"]["exclusiveMinimum"], data["validation_fraction"]["exclusiveMaximum"]) == (0, 1)
    assert made["definitions"]["zoo.CausalLM"]["properties"]["dropout"]["maximum"] == 1
    assert {rule["rule"] for rule in made["definitions"]["zoo.CausalLM"]["x-rules"]} == {
        "ExactlyOne",
        "AtMost",
        "Needs",
    }


class Base:
    """What others build on.

    Args:
        rate: how fast.
    """

    def __init__(self, rate: float = 0.5):
        self.rate = rate


class Derived(Base):
    """What is built.

    Args:
        size: how large.
    """

    def __init__(self, size: int, **kwargs: Any):
        super().__init__(**kwargs)


def test_the_parser_finds_what_a_class_hands_on_to_its_base():
    """`get_signature_parameters` is private: no public way of jsonargparse tells which arguments its parser takes."""
    found = get_signature_parameters(Derived, None)
    said = [(p.name, p.annotation, p.default, p.doc, p.parent) for p in found]
    assert said == [
        ("size", int, inspect.Parameter.empty, "how large.", Derived),
        ("rate", float, 0.5, "how fast.", Base),
    ]


def test_every_key_of_zoo_has_a_description(made: dict):
    ours = {n: d for n, d in made["definitions"].items() if n.startswith("zoo.") and n not in ("zoo.Trainer",)}
    bare = [f"{n}.{key}" for n, d in ours.items() for key, p in d["properties"].items() if not p.get("description")]
    assert bare == []


def test_what_others_wrote_about_their_keys_is_in_a_schema_of_ones_own_only(made: dict):
    def described(found: dict) -> set[str]:
        return {
            name for name, d in found["definitions"].items() if d.get("description") and not name.startswith("zoo.")
        }

    assert described(made) == described(SHIPPED) == set()
    assert "torch.optim.AdamW" in described(write_schema.schema())
    trainer = made["definitions"]["zoo.Trainer"]["properties"]
    assert trainer["vram"]["description"]
    assert "description" not in trainer["benchmark"]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_names_the_schema_for_editors(path: Path):
    first = path.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named is not None
    assert (path.parent / named[1]).resolve() == schema.SHIPPED


def test_every_reference_leads_somewhere(made: dict):
    references = re.findall(r'"\$ref": "#/definitions/([^"]+)"', json.dumps(made))
    assert {*references} <= {*made["definitions"]}


def test_a_config_fits_the_schema_as_an_editor_reads_it():
    editor = jsonschema.Draft7Validator(SHIPPED)
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        assert [*editor.iter_errors(yaml.safe_load(path.read_text()))] == []
