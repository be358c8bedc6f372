"""Imports point one way (docs/software.md), and an edge device loads neither compiler nor front ends."""

import ast
import subprocess
import sys
from pathlib import Path

import lepton

PACKAGE = Path(lepton.__file__).parent

# What each package of `lepton` may import from the others. `lepton` itself is `__init__.py`.
ALLOWED = {
    "arch": set(),
    "text": set(),
    "graph": set(),
    "array_files": set(),
    "firmware": {"arch"},
    "device": {"arch"},
    "serial": {"arch", "device"},
    "frontends": {"graph", "array_files"},
    "program": {"arch", "graph", "text"},
    "compiler": {"arch", "graph", "program"},
    "driver": {"arch", "device", "firmware"},
    "runtime": {"arch", "graph", "program", "driver", "device", "text"},
    "evaluation": {"graph", "frontends", "program", "device", "runtime", "text"},
    "deployment": {"arch", "program", "device", "runtime"},
    "litert": {"arch", "frontends", "compiler", "device", "runtime", "deployment"},
    "ort": {"arch", "frontends", "compiler", "device", "runtime", "deployment"},
    "dynamo": {"graph", "frontends", "compiler", "deployment"},
    "estimators": {"arch", "graph", "program", "device", "runtime", "deployment", "compile"},
    "models": {"frontends", "graph"},
    "results": set(),
    "service": {"results", "__version__"},
    "lepton": {"arch", "frontends", "compiler", "graph", "program", "toolkit"},
    "upload": {"results", "runtime", "program"},
    "toolkit": {"arch", "graph", "frontends", "compiler", "program", "device", "runtime", "results", "deployment",
                "estimators", "text", "upload"},
    "bench": {"arch", "graph", "frontends", "compiler", "program", "driver", "device", "runtime", "models", "results",
              "service"},
    "cli": {"arch", "graph", "frontends", "compiler", "program", "driver", "device", "runtime", "models", "results",
            "service", "bench", "evaluation", "text", "upload", "array_files", "__version__"},
}

# `lepton chip` is the command line of these, and imports them when it is used.
FLOW = "lepton_hdl.flow."


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file of the package imports, wherever in the file it does."""
    inside = ("lepton", *path.relative_to(PACKAGE).with_suffix("").parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (*inside[:len(inside) - node.level], *(node.module or "").split(".")) if node.level else (
                node.module or "").split(".")
            module = ".".join(part for part in base if part)
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "lepton" else {module}
    return names


def forbidden(path: Path) -> set[str]:
    """The imports of a file that its package may not have."""
    parts = path.relative_to(PACKAGE).parts
    package = parts[0] if len(parts) > 1 else path.stem.replace("__init__", "lepton")
    bad = set()
    for name in imported(path):
        top, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package == "cli" and name.startswith(FLOW):
            continue
        if top in ("lepton_hdl", "lepton_sim") or (
                top == "lepton" and other and other != package and other not in ALLOWED[package]):
            bad.add(name)
    return bad


def test_packages_import_only_what_is_below_them():
    found = {str(path.relative_to(PACKAGE)): bad for path in sorted(PACKAGE.rglob("*.py")) if (bad := forbidden(path))}
    assert not found, f"imports against the rule of docs/software.md: {found}"


def test_the_rule_finds_what_it_is_for(tmp_path, monkeypatch):
    """A lazy import inside a function, relative or absolute, and one of the simulator."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    file = folder / "wrong.py"
    file.write_text("def f():\n    from ..compiler import lowering\n    import lepton_sim.board\n"
                    "    from lepton import frontends\n    from ..graph import core\n")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert forbidden(file) == {"lepton.compiler", "lepton_sim.board", "lepton.frontends"}


def test_the_runtime_loads_no_compiler():
    script = ("import sys, lepton.runtime, lepton.driver, lepton.program\n"
              "print([m for m in sys.modules if m.startswith(('lepton.compiler', 'lepton.frontends', 'lepton_sim'))])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
