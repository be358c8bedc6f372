"""`lepton report`: the page and its data."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml

import lepton.models
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("tflite")

MNIST = lepton.models.load("mnist")
MOST_BYTES = 2 << 20


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder with page.html and page.json of mnist on the golden model, with an evaluation and a comparison."""
    folder = tmp_path_factory.mktemp("report")
    evaluation = {
        "accuracy": {"int8": 0.99, "chip": 0.98},
        "inputs": 9,
        "confusion": [],
        "notes": [],
        "noise_db": [
            {"value": "stem", "operator": "Conv2D", "db": 31.5},
            {"value": "pool", "operator": "p", "db": None},
        ],
    }
    (folder / "eval.json").write_text(json.dumps(evaluation))
    first = [
        "report",
        str(MNIST.path),
        "--device",
        "golden",
        "--config",
        "tiny",
        "-o",
        str(folder / "tiny.html"),
        "--json",
        str(folder / "tiny.json"),
    ]
    assert main(first) == 0
    assert (
        main(
            [
                "report",
                str(MNIST.path),
                "--device",
                "golden",
                "--config",
                "base",
                "-o",
                str(folder / "page.html"),
                "--json",
                str(folder / "page.json"),
                "--compare",
                str(folder / "tiny.json"),
                "--evaluation",
                str(folder / "eval.json"),
            ]
        )
        == 0
    )
    return folder


def test_the_page_needs_nothing_else(report):
    text = (report / "page.html").read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not re.search(r'(?:src|href)="(?!#)[^"]*//|@import|<script(?! type="application/json")|url\((?!#)', text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text and 'name="viewport"' in text


def test_pictures_are_well_formed_and_take_the_pages_colours(report):
    text = (report / "page.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<figure role=\"img\" aria-label=\"[^\"]+\">(<svg.*?</svg>)", text, re.DOTALL)
    assert len(pictures) == 5  # block diagram, timeline, roofline, noise, memory
    for svg in pictures:
        xml.fromstring(svg)
        assert "var(--ink)" in svg and "<text" in svg and "#010203" not in svg


def test_the_data_are_those_of_the_network(report):
    data = json.loads((report / "page.json").read_text())
    text = (report / "page.html").read_text(encoding="utf-8")
    inside = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1)
    )
    assert inside["report"] == data and inside["compared"]["config"]["name"] == "tiny"
    assert data["source"] == "predicted" and data["macs"] == 2_380_672 and data["engines"]["TENSOR"] is None
    assert sum(layer["macs"] for layer in data["layers"]) == data["macs"]
    for layer in data["layers"]:
        assert sum(layer["causes"].values()) == pytest.approx(layer["cycles"])
        assert f'<td class="text">{layer["name"]}</td>' in text
    assert {block["region"] for block in data["memory"]} >= {"PROGRAM", "INPUT", "OUTPUT"}
    assert "cycles of stem.conv" in text and "98.00" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not JSON", "is no JSON; give a file that lepton report --json wrote"),
        ('{"format": 7}', "does not hold the data of a report of format 1; write it again with lepton report --json"),
    ],
)
def test_a_comparison_with_something_else(content, message, tmp_path, capsys):
    (tmp_path / "other.json").write_text(content)
    assert (
        main(["report", str(MNIST.path), "--compare", str(tmp_path / "other.json"), "-o", str(tmp_path / "x.html")])
        == EXIT_USER_ERROR
    )
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.html").exists()


def test_measured_cycles_give_busy_engines():
    from lepton.arch import COUNTERS, PRESETS
    from lepton.compiler import compile_graph
    from lepton.report import collect, page
    from lepton.runtime import Report
    from lepton.runtime.report import CAUSES, Row

    model = compile_graph(MNIST.graph(), PRESETS["tiny"])
    causes = dict.fromkeys(CAUSES, 0) | {"COMPUTE": 60, "WAIT_READ": 40}
    rows = tuple(
        Row(
            layer.name,
            layer.op,
            layer.input_shape,
            layer.output_shape,
            layer.macs,
            100,
            causes,
            10,
            model.config.macs_per_cycle,
        )
        for layer in model.layers
    )
    counters = {name: 0 for name, _ in COUNTERS} | {
        "CYCLES": 100 * len(rows),
        "COMPUTE": 60 * len(rows),
        "READ_BEATS": 10 * len(rows),
        "WRITE_BEATS": 5 * len(rows),
    }
    data = collect(model, "rtl", Report(model.config, rows, counters, 1.0), [])
    assert data["engines"] == {"LOAD": 0.1, "TENSOR": 0.6, "STORE": 0.05} and data["source"] == "measured"
    text = page(data)
    assert "60 % busy" in text and "waiting for inputs 40 %" in text


def test_a_browser_shows_it(report, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=420,3000",
            f"--screenshot={picture}",
            (report / "page.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = picture.read_bytes()
    assert found.startswith(b"\x89PNG") and np.frombuffer(found[16:24], ">u4").tolist() == [420, 3000]
    assert len(found) > 30_000  # a blank page has a tenth of it
