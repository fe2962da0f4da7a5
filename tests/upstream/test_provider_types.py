"""The table of provider types is the only place that knows their names."""

import ast
import re
from pathlib import Path

from codexproxy.app.providers import MAKERS
from codexproxy.provider_types import PROVIDER_TYPES

PACKAGE = Path(__file__).resolve().parents[2] / "codexproxy"


def compared_types(tree: ast.AST) -> list[int]:
    """Lines that compare something called a kind or a type with the name of a provider type."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = [ast.unparse(side) for side in sides]
            holds = any(repr(type) in name for name in names for type in PROVIDER_TYPES)
            if holds and any(re.search(r"(\.kind|\.type|provider_type)\b", name) for name in names):
                found.append(node.lineno)
    return found


def test_every_type_has_a_maker() -> None:
    assert MAKERS.keys() == PROVIDER_TYPES.keys()


def test_nobody_compares_the_names_of_types() -> None:
    culprits = compared_types(ast.parse('provider.kind == "codex"\nrow.type in ("codex-cli",)\nname == "codex"'))
    assert culprits == [1, 2]
    for path in PACKAGE.rglob("*.py"):
        if "simulator" not in path.parts:
            assert compared_types(ast.parse(path.read_text())) == [], f"{path} should ask for a capability"
