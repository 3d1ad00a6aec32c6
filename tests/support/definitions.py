"""The names that a module defines, for documents that name them."""

import ast
from functools import cache
from pathlib import Path


@cache
def names(path: Path) -> set[str]:
    """What a module defines: functions, classes with their methods, and its own variables."""
    found: set[str] = set()

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            found.update(prefix + each.id for each in targets if isinstance(each, ast.Name))

    walk(ast.parse(path.read_text()).body, "")
    return found
