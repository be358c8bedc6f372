"""The pictures in docs/ name modules that exist, and the one of the software names every package."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = sorted((ROOT / "docs").glob("*.svg"))
# Packages without a place in the flow of data: commands, measurements and pages of them, networks and the firmware that
# a board loads.
APART = {"bench", "cli", "firmware", "models", "report"}


def labels(picture: Path) -> dict[str, str]:
    """Path -> label of each text that stands for a module."""
    found = {element.get("data-path"): "".join(element.itertext()) for element in ElementTree.parse(picture).iter()}
    return {path: text for path, text in found.items() if path}


@pytest.mark.parametrize("name", ["software", "compiler"])
def test_every_module_exists_under_its_label(name):
    found = labels(ROOT / "docs" / f"{name}.svg")
    assert len(found) > 10
    for path, label in found.items():
        place = ROOT / path
        assert place.exists() or place.with_suffix(".py").exists(), f"{name}.svg names {path}, which does not exist"
        assert path.removesuffix(".py").endswith(label), f"{name}.svg calls {path} {label!r}"


def test_the_picture_of_the_software_has_every_package():
    packages = {path.parent.name for path in (ROOT / "host" / "lepton").glob("*/__init__.py")} - APART
    shown = {path.removeprefix("host/lepton/") for path in labels(ROOT / "docs" / "software.svg")}
    assert packages <= shown, f"docs/software.svg lacks {packages - shown}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_every_picture_is_shown_on_a_page(picture):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"{picture.name})" in page.read_text(encoding="utf-8") for page in pages)
