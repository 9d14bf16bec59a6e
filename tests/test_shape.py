"""The shape of the code, held by a test that prints the offender: a file over the budget wants a second room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for room in ("nightforge", "tasks", "flows") for p in (ROOT / room).rglob("*.py"))
MAX_LINES_FILE, MAX_LINES_FUNCTION, MAX_DEPTH = 350, 50, 2


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_size(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    lines = source.count("\n")
    assert lines <= MAX_LINES_FILE, f"{file}: {lines} lines, the budget is {MAX_LINES_FILE}: it wants a second room"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_LINES_FUNCTION, f"{file}:{node.lineno}: {node.name} has {length} lines"


def test_depth() -> None:
    deep = [p for p in FILES if len(p.relative_to(ROOT).parts) - 1 > MAX_DEPTH]
    assert not deep, f"folders deeper than {MAX_DEPTH}: {deep}"


def test_no_import_cycle() -> None:
    edges = {p.relative_to(ROOT).with_suffix(""): _imports(p) for p in FILES}
    names = {".".join(k.parts): v for k, v in edges.items()}
    state: dict[str, int] = {}

    def visit(name: str, path: list[str]) -> None:
        assert state.get(name) != 1, "import cycle: " + " → ".join([*path[path.index(name) :], name])
        if name in names and name not in state:
            state[name] = 1
            for target in names[name]:
                visit(target, [*path, name])
            state[name] = 2

    for name in names:
        visit(name, [])


def _imports(file: Path) -> set[str]:
    """Modules of ours imported at module level."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names} | {node.module}
    return {n for n in found if n.split(".")[0] in {"nightforge", "tasks", "flows"}}


def test_no_module_shadows_a_library() -> None:
    import sys
    from importlib.metadata import packages_distributions

    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    flat = [p for room in ("flows",) for p in (ROOT / room).glob("*.py")]
    shadows = [p.name for p in flat if p.stem in taken]
    assert not shadows, f"a path entrypoint would shadow these libraries: {shadows}"
