"""What pages, docstrings and comments name exists: files, links and their headings, modules, commands and targets."""

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from lepton.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "examples", "firmware", "hdl", "host", "requirements", "sim", "tests", "tools")
PACKAGES = {"lepton": "host/lepton", "lepton_hdl": "hdl/lepton_hdl", "lepton_sim": "sim/lepton_sim", "tests": "tests"}
NO_MODULES = {"lepton.devices", "lepton.schema"}  # a group of entry points; a key in the metadata of a Parquet file
OTHERS = {"docs/Versioning.md", "docs/ContribOperators.md"}  # of ONNX and of ONNX Runtime
INVENTED = {"tests/tools/test_mutants.py", "tests/host/test_references.py"}  # files that do not exist, as examples
# Folders below which a page may leave out the first parts of a path, as in `graph/ops`.
BASES = ("", "host/lepton", "hdl/lepton_hdl", "sim/lepton_sim", "host/lepton/graph", "firmware")
# The change log and the decisions say what was true at their time.
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in (
    *ROOT.glob("*.md"), *(path for folder in ("docs", "examples", "host") for path in (ROOT / folder).rglob("*.md")))
    if page.name != "CHANGELOG.md" and page.parent.name != "decisions")
SOURCES = sorted(path.relative_to(ROOT).as_posix() for folder in ("host", "hdl", "sim", "tools", "tests")
                 for path in (ROOT / folder).rglob("*.py"))
# Names of files that commands write, and of others' files.
MADE = re.compile(r"build/|staging/|authority/|objects/|results/|lepton_chip\.|\.venv/|lepton-store\.json|application/")


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def missing_links(page: str) -> list[str]:
    """Targets of relative links that do not exist, or lack the heading."""
    bad = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text_of(page)):
        if "://" in target:
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            bad.append(f"{target}#{anchor}")
    return bad


def is_path(name: str) -> bool:
    return bool(re.fullmatch(r"[\w.*-]+(/[\w.*-]*)+", name)) and not MADE.match(name)


def exists(name: str, page: str) -> bool:
    """Whether a path exists in the repository, below one of `BASES`, or next to the page."""
    return any(any((ROOT / base).glob(name.rstrip("/"))) or any((ROOT / base).glob(name.rstrip("/") + ".py"))
               for base in (*BASES, Path(page).parent.as_posix()))


def missing_paths(page: str) -> list[str]:
    names = re.findall(r"`([^`\n]+)`", text_of(page))
    return [name for name in names if is_path(name) and "/" in name and not name.startswith("..")
            and not exists(name, page)]


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or something in one."""
    parts = dotted.split(".")
    place = ROOT / PACKAGES[parts[0]]
    taken = 1
    while taken < len(parts) and (place / parts[taken]).is_dir():
        place /= parts[taken]
        taken += 1
    if taken < len(parts) and (place / f"{parts[taken]}.py").exists():
        taken += 1
    if taken == len(parts) or dotted in NO_MODULES:
        return True
    found = importlib.import_module(".".join(parts[:taken]))
    for part in parts[taken:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def missing_modules(text: str) -> list[str]:
    """Dotted names in backquotes, and modules that `python -m` runs; not the beginnings of names."""
    names = [*re.findall(r"`((?:lepton|lepton_hdl|lepton_sim|tests)(?:\.\w+)+)`", text),
             *re.findall(r"python -m ((?:lepton|lepton_hdl|lepton_sim|tests)[\w.]*+)(?<!_)(?!\{)", text)]
    return [name for name in names if not resolves(name)]


def commands(page: str) -> list[str]:
    """The `lepton` commands in a page's code blocks, without comments."""
    lines = re.findall(r"^    (?:\.venv/bin/)?(lepton .*)$", text_of(page), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


def refused_commands(page: str) -> list[str]:
    bad = []
    for command in commands(page):
        try:
            make_parser().parse_args(shlex.split(command)[1:])
        except SystemExit:
            bad.append(command)
    return bad


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_exists(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('base = "tiny"\n')  # a chip of the reader's own
    assert missing_links(page) == []
    assert missing_paths(page) == []
    assert missing_modules(text_of(page)) == []
    assert refused_commands(page) == []
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text_of(page))) <= targets


def test_docstrings_and_comments_name_what_exists():
    """Files by their path from the root, and modules by their dotted name."""
    path = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})(?:/[\w.-]+)+\.(?:py|md|toml|json|svg|c|h|sh|txt)\b")
    bad = {}
    for source in set(SOURCES) - INVENTED:
        text = text_of(source)
        names = [name for name in path.findall(text) if name not in OTHERS and not (ROOT / name).exists()]
        if names + missing_modules(text):
            bad[source] = names + missing_modules(text)
    assert bad == {}


def test_the_checks_find_what_they_are_for(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("# One\n[x](none.md) [y](page.md#one) [z](page.md#two) `graph/none` `lepton.none.Name`, python -m "
                    "lepton.nothing `lepton.graph.Conv2D`\n\n    lepton compile\n    lepton cloud verify\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert missing_links("page.md") == ["none.md#", "page.md#two"]
    assert missing_paths("page.md") == ["graph/none"]
    assert refused_commands("page.md") == ["lepton compile"]
    monkeypatch.undo()
    assert missing_modules(page.read_text()) == ["lepton.none.Name", "lepton.nothing"]
