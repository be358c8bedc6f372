"""The examples of the fields, one after the other in one process, on the golden model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("torch", "matplotlib"):
    pytest.importorskip(package)

EXAMPLES = Path(__file__).parents[2] / "examples"
FIELDS = ("driving", "medicine", "industry", "finance", "home")


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Where the pictures are, and what each example printed."""
    folder = tmp_path_factory.mktemp("examples")
    program = ("import contextlib, io, runpy, sys\n"
               f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
               f"for name in {FIELDS!r}:\n"
               "    sys.argv = [name, '--config', 'tiny']\n"
               "    print('=====', name)\n"
               f"    runpy.run_path({str(EXAMPLES)!r} + '/' + name + '.py', run_name='__main__')\n")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False,
                          timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    parts = re.split(r"^===== (\w+)\n", done.stdout, flags=re.MULTILINE)[1:]
    return folder, dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", FIELDS)
def test_it_draws_and_says_what_it_costs(name, printed):
    folder, texts = printed
    picture = (folder / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    assert "cycles an inference" in texts[name] and f"written {name}.png" in texts[name]


def test_the_road_has_cars(printed):
    text = printed[1]["driving"]
    assert re.search(r"frame +\d+: .*(car|person) \d+ m", text)
    assert len(re.findall(r"^frame", text, re.MULTILINE)) == 12


def test_the_bearing_alarms_after_the_crack_and_not_before(printed):
    text = printed[1]["industry"]
    crack, alarm = map(int, re.search(r"first crack on day (\d+); alarm on day (\d+)", text).groups())
    assert crack <= alarm <= crack + 20
    assert "false alarms before it: 0" in text


def test_vessels_cover_what_an_eye_has(printed):
    share = float(re.search(r"vessels cover (\S+) %", printed[1]["medicine"]).group(1))
    assert 4 < share < 25


def test_the_value_at_risk_is_exceeded_about_as_often_as_it_says(printed):
    share = float(re.search(r"exceeded on (\S+) % of the days", printed[1]["finance"]).group(1))
    assert 1 < share < 12


def test_words_are_heard(printed):
    right, count = map(int, re.search(r"(\d+) of (\d+) heard rightly", printed[1]["home"]).groups())
    assert right >= 0.6 * count
