"""The documentation as a site: it builds without a warning, and its pages load nothing from other places."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(package)

ROOT = Path(__file__).resolve().parents[2]


def test_site(tmp_path):
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path], cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=300,
                          env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(tmp_path).as_posix(): page.read_text(encoding="utf-8")
             for page in tmp_path.rglob("*.html")}
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))  # each page, and the one for what does not exist
    assert "LeptonNetwork" in pages["python/index.html"]
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]*)\"", text)
        loaded += re.findall(r"<link[^>]*rel=\"(?:stylesheet|preconnect|icon)\"[^>]*href=\"([^\"]*)\"", text)
        assert loaded and not [place for place in loaded if "//" in place], name
