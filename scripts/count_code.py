"""The figures of docs/architecture.md on the code itself, counted by ast.

python scripts/count_code.py          # of this checkout
python scripts/count_code.py FOLDER   # of another one
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LONG_FUNCTION, LONG_FILE = 50, 400
NAME = "wsloc"


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    files = {path.relative_to(root): path.read_text(encoding="utf-8") for path in sorted((root / NAME).rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in files.items()}
    lines = {path: len(text.splitlines()) for path, text in files.items()}
    packages = {package_of(path) for path in files} - {""}
    arrows = {arrow for path, tree in trees.items() for arrow in imports(path, tree, packages)}
    print(f"lines: {sum(lines.values())}")
    print(f"files: {len(files)}")
    print(f"functions over {LONG_FUNCTION} lines: {sum(map(long_functions, trees.values()))}")
    print(f"files over {LONG_FILE} lines: {sum(count > LONG_FILE for count in lines.values())}")
    print(f"packages: {len(packages)}")
    print(f"import arrows between packages: {len(arrows)}")
    print(f"cycles of packages: {'some' if has_cycle(arrows) else 0}")
    return 0


def package_of(path: Path) -> str:
    """The folder below ``wsloc``, or nothing for the base."""
    return path.parts[1] if len(path.parts) > 2 else ""


def imports(path: Path, tree: ast.Module, packages: set[str]) -> Iterator[tuple[str, str]]:
    """From the file's package to others, also those inside of functions."""
    own = package_of(path)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for top, name, *_ in (f"{name}.".split(".") for name in names):
            if top == NAME and own and name in packages - {own}:
                yield own, name


def long_functions(tree: ast.Module) -> int:
    """Functions over the limit without their docstrings."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                assert first.end_lineno is not None
                length -= first.end_lineno - first.lineno + 1
            count += length > LONG_FUNCTION
    return count


def has_cycle(arrows: set[tuple[str, str]]) -> bool:
    graph: dict[str, set[str]] = {}
    for source, target in arrows:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
