"""The library's public names carry types and examples; `make check` runs the examples."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "dcgmm"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "experiments" not in path.parts)


def public(nodes):
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [node for node in nodes if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_public_class_and_function_has_an_example(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert not [node.name for node in public(tree.body) if ">>>" not in (ast.get_docstring(node) or "")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_public_signature_has_types(path):
    tree = ast.parse(path.read_text("utf-8"))
    methods = [m for c in public(tree.body) if isinstance(c, ast.ClassDef) for m in (*public(c.body), *constructors(c))]
    functions = [node for node in (*public(tree.body), *methods) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        arguments = function.args
        every = [*arguments.args, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
        untyped = [a.arg for a in every if a.annotation is None and a.arg not in ("self", "cls")]
        assert not untyped and function.returns, f"{function.name}: {untyped}, returns {function.returns}"


def constructors(node):
    return [method for method in node.body if isinstance(method, ast.FunctionDef) and method.name == "__init__"]
