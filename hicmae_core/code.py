"""Code as what it computes, for fingerprints: which modules determine a result, and a digest of what they say."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).resolve().parent


def code_of(*modules: str) -> list[Path]:
    """Files of the library's modules that these import, directly or not, and their own; sorted.

    Modules beside the library's folders (config, files, ...) are left out: almost every change there leaves results as
    they are. A fingerprint holds their settings, and the constants that count, as values.

    Args:
        modules: Dotted names within the library, such as ``training.pretrain``.
    """
    found: set[Path] = set()
    waiting = [_file(name) for name in modules]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return sorted(found)


def code_digest(path: Path) -> str:
    """SHA-256 of what a Python file computes: docstrings, comments and layout do not change it.

    The text is that of `ast.unparse`, so it may differ between versions of Python.

    Raises:
        SyntaxError: If it is not Python.
    """
    tree = ast.parse(path.read_bytes(), str(path))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [statement for statement in body if not _is_text(statement)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    """Whether it is a string that nothing uses: a docstring, of an attribute, too."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Files of the modules in the library's folders that one imports."""
    names = (name for node in ast.walk(ast.parse(path.read_bytes())) for name in _names(node))
    rooms = (name.removeprefix(f"{_LIBRARY.name}.") for name in names if name.count(".") > 1)
    return tuple(file for room in rooms if (file := _file(room)).is_file())


def _names(node: ast.AST) -> Iterator[str]:
    """Modules of the library that an import may mean: ``a``, and of ``from a import b`` also ``a.b``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.startswith(f"{_LIBRARY.name}."))
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{_LIBRARY.name}."):
        yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


def _file(name: str) -> Path:
    return (_LIBRARY / name.replace(".", "/")).with_suffix(".py")
