"""Imports point one way (docs/software.md), and an edge device loads neither compiler nor front ends."""

import ast
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import lepton
import lepton_hdl
import lepton_sim

PACKAGE = Path(lepton.__file__).parent

# What each package of `lepton` may import from the others. `lepton` itself is `__init__.py`.
ALLOWED = {
    "arch": set(),
    "text": set(),
    "graph": set(),
    "array_files": set(),
    "firmware": {"arch", "graph"},  # the self-test computes a normalization and a softmax
    "device": {"arch"},
    "serial": {"arch", "device"},
    "frontends": {"graph", "array_files"},
    "program": {"arch", "graph", "text"},
    "compiler": {"arch", "graph", "program"},
    "driver": {"arch", "device", "firmware"},
    "runtime": {"arch", "graph", "program", "driver", "device", "text"},
    "evaluation": {"graph", "frontends", "program", "device", "runtime", "text", "array_files"},
    "deployment": {"arch", "program", "device", "runtime"},
    "litert": {"arch", "frontends", "compiler", "device", "runtime", "deployment"},
    "ort": {"arch", "frontends", "compiler", "device", "runtime", "deployment"},
    "dynamo": {"graph", "frontends", "compiler", "deployment"},
    "estimators": {"arch", "graph", "program", "device", "runtime", "deployment", "compilation"},
    "models": {"arch", "graph", "frontends", "compiler", "program", "device", "runtime"},
    "results": set(),
    "service": {"results", "__version__"},
    "compilation": {"arch", "frontends", "compiler", "graph", "program"},
    "lepton": {"compilation", "toolkit"},
    "upload": {"results", "runtime", "program"},
    "report": {"program", "runtime", "__version__"},
    "toolkit": {"arch", "graph", "frontends", "compiler", "program", "device", "runtime", "results", "deployment",
                "estimators", "text", "upload"},
    "bench": {"arch", "graph", "frontends", "compiler", "program", "driver", "device", "runtime", "models", "results",
              "service"},
    "cli": {"arch", "graph", "frontends", "compiler", "program", "driver", "device", "runtime", "models", "results",
            "service", "bench", "evaluation", "text", "upload", "array_files", "report", "toolkit", "__version__"},
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


# Annotations of the type checker may point back: these are not imported when the program runs.
CHECKER = "TYPE_CHECKING"


def modules() -> dict[str, Path]:
    """All modules of the three packages by dotted name."""
    found = {}
    for package in (lepton, lepton_sim, lepton_hdl):
        root = Path(package.__file__).parent
        for path in root.rglob("*.py"):
            parts = (package.__name__, *path.relative_to(root).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def dependencies(name: str, path: Path, known: Collection[str]) -> set[str]:
    """The modules of `known` that module `name` imports when it is loaded or when its functions run."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unused = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == CHECKER
              for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in unused:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in known else module)
    return (found & set(known)) - {name}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, whatever the way is."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in graph[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        reached[start] = seen
    groups = {tuple(sorted(b for b in reached[a] if a in reached[b])) for a in graph if a in reached[a]}
    return [list(group) for group in sorted(groups)]


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


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count: one that hides a cycle is a cycle."""
    known = modules()
    assert len(known) > 500
    assert cycles({name: dependencies(name, path, known) for name, path in known.items()}) == []


def test_a_cycle_is_found(tmp_path):
    texts = {"p": "", "p.a": "from . import b\n", "p.b": "def f():\n    from .c import g\n", "p.c": "import p.a\n",
             "p.d": "from .a import x\nif TYPE_CHECKING:\n    from .e import y\n", "p.e": "from .d import z\n"}
    graph = {}
    for name, text in texts.items():
        path = tmp_path / ("__init__.py" if name == "p" else f"{name[2:]}.py")
        path.write_text(text)
        graph[name] = dependencies(name, path, texts)
    assert cycles(graph) == [["p.a", "p.b", "p.c"]]


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
