"""Every block of these pages runs: Python in one namespace, commands in between, in the order of the page."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("torch", "sklearn", "onnx", "onnxruntime"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[2]
SHOWN = {  # what a page's program must print, at least
    "toolkit": ("network  Sequential", "chip, device golden", "signal-to-noise of int8 against float", "(10, 10)"),
    "tutorial": ("digits that it has not seen", "signal-to-noise of int8 against float", "digits.html",
                 "mnist.lepton, "),
}


def script(page: str) -> str:
    """One Python program that does what the page says."""
    parts = ["import warnings; warnings.simplefilter('ignore')", "from lepton.cli import main as _main"]
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "python":
            parts.append(block)
        else:
            assert language == "sh", f"a block of {language}, which is not run"
            for line in block.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "lepton", line
                parts.append(f"assert _main({arguments!r}) == 0, {line!r}")
    return "\n".join(parts)


@pytest.mark.parametrize("page", SHOWN)
def test_every_block_runs(page, tmp_path):
    text = script((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert text.count("_main([") >= 5
    (tmp_path / "page.py").write_text(text)
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
                          timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1", "LEPTON_DEVICE": "golden",
                                                         "XDG_DATA_HOME": str(tmp_path / "data")})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for shown in SHOWN[page]:
        assert shown in done.stdout, done.stdout
