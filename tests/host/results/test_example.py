"""The notebook in `examples/` runs on what `lepton sim` has stored."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from lepton.cli import main

NOTEBOOK = Path(__file__).parents[3] / "examples" / "results.ipynb"


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["sim", "--device", "golden", "--config", "tiny", "--images", "3"]) == 0
    names: dict = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert len(cells) == 4
    assert sum(row["images"] for row in names["answer"].to_pylist()) == 3
    assert names["values"].shape == names["real"].shape == (3, 1, 10)
    assert pq.read_table("results.parquet").num_rows == 3
