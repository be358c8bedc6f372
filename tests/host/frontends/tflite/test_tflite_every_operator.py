"""Every operator of the front end's table is executed against LiteRT in some test: an operator that no module with such
a comparison names fails."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert")

from lepton.frontends.tflite.importer import CONVERT

TESTS = Path(__file__).resolve().parents[3]
ORACLES = {"tests.litert_models", "tests.litert_child"}  # what runs LiteRT
# Names that tests make of others ("Less" and `upper`)
MADE = {"LESS", "GREATER"}


def imported(tree: ast.Module) -> set[str]:
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def executed() -> set[str]:
    """The strings in modules that compare with LiteRT, themselves or by helpers that they import."""
    trees = {".".join(path.relative_to(TESTS.parent).with_suffix("").parts): ast.parse(path.read_text())
             for path in TESTS.rglob("*.py")}
    imports = {name: imported(tree) for name, tree in trees.items()}
    comparing = set(ORACLES)
    while more := {name for name in imports if name not in comparing and imports[name] & comparing}:
        comparing |= more
    own = __name__.rpartition(".")[2]
    return {node.value for name, tree in trees.items() if name in comparing and not name.endswith(own)
            for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_operator_of_the_table_is_executed():
    named = executed() | MADE
    missing = {name for name in CONVERT if name.removeprefix("CUSTOM ").strip("'") not in named}
    assert not missing
