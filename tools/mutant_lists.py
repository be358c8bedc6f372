"""The faults of tests/mutants/*.toml, and the results that are known of them. See tools/mutants.py."""

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "mutants"
RESULTS = ROOT / "build" / "mutants" / "results.jsonl"
HARNESS = ROOT / "tests" / "cocotb_harness.py"  # it runs tests and says nothing of what they notice
REASON = 200  # characters of a test's message that are kept


@dataclass(frozen=True)
class Mutant:
    """`new` in place of `old` in `file` (relative to the root) must make one of `tests` fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {short(self.old)}  ->  {short(self.new) or 'nothing'}"


@dataclass(frozen=True)
class Result:
    """What the tests said about one fault."""

    outcome: str  # killed, survives, stalls or broken
    text: str  # the first failure ("test - reason"), or the end of the output
    seconds: float

    @property
    def killer(self) -> str:
        """The test that failed, as pytest names it; "" if none did."""
        return self.text.partition(" - ")[0] if self.outcome == "killed" and "::" in self.text else ""


def short(text: str, limit: int = 90) -> str:
    """`text` in one line of at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit - 3] + "..."


def read_lists(root: Path = ROOT, words: Sequence[str] = ()) -> list[Mutant]:
    """Every fault that is to be killed; with `words` those in files whose path contains one.

    Raises `ValueError` where one of them cannot be planted, naming all of these.
    """
    mutants: list[Mutant] = []
    stale: list[str] = []
    for path in sorted((root / LISTS.relative_to(ROOT)).glob("*.toml")):
        for group in tomllib.loads(path.read_text())["group"]:
            if words and not any(word in group["file"] for word in words):
                continue
            source = root / group["file"]
            text = source.read_text() if source.is_file() else ""
            missing = [test for test in group["tests"] if not (root / test.partition("::")[0]).exists()]
            stale += [f"{path.name}: {group['file']} names a test that is not there: {test}" for test in missing]
            pairs = group.get("mutants", [])
            for old, new, *_ in [*pairs, *group.get("equivalent", [])]:
                if text.count(old) != 1 or old == new:
                    stale.append(f"{path.name}: {group['file']} holds {text.count(old)} times {short(old)!r}")
            mutants += [Mutant(group["file"], old, new, tuple(group["tests"])) for old, new in pairs]
    if stale:
        raise ValueError("these faults must be written anew, as the text to replace must occur once:\n"
                         + "\n".join(stale))
    return mutants


def test_modules(root: Path, tests: tuple[str, ...]) -> list[Path]:
    """The files of these tests and every module under tests/ that they import, directly or not, but for the harness;
    sorted."""
    harness = root / HARNESS.relative_to(ROOT)
    found: set[Path] = set()
    waiting = [root / test.partition("::")[0] for test in tests]
    while waiting:
        path = waiting.pop()
        if path.is_dir():
            waiting += path.rglob("*.py")
        elif path.is_file() and path not in found:
            found.add(path)
            waiting += [root / f"{name.replace('.', '/')}.py" for name in _imports(path.read_text())
                        if name.startswith("tests.")]
    return sorted(found - {harness})


@cache
def _imports(text: str) -> tuple[str, ...]:
    """The modules, or names in modules, that a Python text imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@cache
def code_of(text: str, suffix: str) -> str:
    """What a program's text does: Python without comments and docstrings, C without comments, both without layout."""
    if suffix == ".py":
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0] if node.body else None
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    node.body = node.body[1:]
        return ast.dump(tree)
    if suffix in (".c", ".h"):
        return " ".join(re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL).split())
    return text


def key_of(root: Path, mutant: Mutant) -> str:
    """The key under which the result of this fault is kept."""
    hashed = hashlib.sha256()
    paths = [root / mutant.file, *test_modules(root, mutant.tests)]
    codes = [code_of(path.read_text(), path.suffix) for path in paths]
    for text in (mutant.file, mutant.old, mutant.new, *mutant.tests, *codes):
        hashed.update(f"{len(text)}:{text}".encode())
    return hashed.hexdigest()


def known_results() -> dict[str, Result]:
    """The results of earlier runs by their keys."""
    return {entry["key"]: Result(entry["outcome"], entry["text"], entry["seconds"]) for entry in _entries()}


def known_killers() -> dict[str, str]:
    """The test that has killed a fault last, by the fault's text, whatever has changed since."""
    results = {entry["fault"]: Result(entry["outcome"], entry["text"], entry["seconds"]) for entry in _entries()}
    return {fault: result.killer for fault, result in results.items() if result.killer}


def _entries() -> list[dict[str, str]]:
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def keep_result(key: str, mutant: Mutant, result: Result) -> None:
    """Append the result to the file of results."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    entry = {"key": key, "fault": str(mutant), "outcome": result.outcome, "text": result.text,
             "seconds": round(result.seconds, 1)}
    with RESULTS.open("a") as file:
        file.write(json.dumps(entry) + "\n")
