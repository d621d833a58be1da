"""Rules of docs/architecture.md that a program can check; who may import whom is checked by import-linter."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

ROOMS = ("hicmae_core", "hicmae", "stages", "pipelines")
MIRRORS = {"stages", "cli", "flows"}
"""A stage, a command and a flow have the name of what they run."""
MAX_FUNCTION_LINES = 64


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_two_files_share_a_name_only_where_one_runs_the_other() -> None:
    places = defaultdict(list)
    for path, _ in sources():
        if not path.stem.startswith("__") and path.parent.name not in MIRRORS:
            places[path.name].append(str(path))
    assert [paths for paths in places.values() if len(paths) > 1] == []


def test_two_public_classes_do_not_share_a_name() -> None:
    places = defaultdict(list)
    for path, tree in sources():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_a_function_fits_on_a_screen() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []
