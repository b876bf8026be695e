"""What may import what: `chat -> presets -> cards`, Textual on the screen, llama_cpp in the worker alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {"cards": {"cards"}, "presets": {"cards", "presets"}, "chat": {"cards", "presets", "chat"}}

HEAVY = ("textual", "rich", "llama_cpp", "PIL", "numpy")


def modules_imported_by(path: Path) -> set[str]:
    """Dotted names of all that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


SOURCES = sorted(
    path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py") if "source" not in path.parts
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in modules_imported_by(path)}
    assert not (tops & set(MAY_IMPORT)) - MAY_IMPORT[package]
    if not path.is_relative_to(ROOT / "chat" / "tui"):
        assert "textual" not in tops
    if not path.is_relative_to(ROOT / "chat" / "engine" / "worker"):
        assert "llama_cpp" not in tops


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_grows_past_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            "cards.reading, cards.lorebook, cards.macros",
            {"presets", "chat", "textual", "llama_cpp", "PIL", "numpy"},
        ),
        (
            "presets.prompt, presets.library, presets.matching",
            {"chat", "textual", "llama_cpp", "PIL", "numpy"},
        ),
        ("chat.session, chat.store, chat.engine.client", {"textual", "rich", "llama_cpp", "PIL", "numpy"}),
        (
            "chat.__main__, chat.cli.root",
            {"textual", "rich", "llama_cpp", "PIL", "numpy", "pydantic", "yaml", "jinja2"},
        ),
    ],
)
def test_the_core_loads_without_what_is_above_it(modules: str, absent: set[str]) -> None:
    program = f"import sys, {modules}; print('\\n'.join(sorted(m.split('.')[0] for m in sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not absent & set(run.stdout.split())
