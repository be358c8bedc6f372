"""How much of a result is kept, as the log was asked to."""

import numpy as np
import pytest
from lepton import results
from lepton.results import ResultLog, ResultsError, Spool, Store, Uploader

from tests.host.results.reading import COMMON, outputs, send


@pytest.mark.parametrize("keep", ["top5", "hash"])
def test_less_is_kept_if_asked_for(tmp_path, keys, keep):
    send(tmp_path / "store", tmp_path / "spool.db", keys, "run", range(5), keep=keep)
    opened = results.Results(Store(tmp_path / "store"), keys.keyring())
    for number, record in enumerate(opened.records()):
        for output in record["outputs"]:
            assert output["kept"] == keep and "values" not in output and len(output["sha256"]) == 64
            flat = outputs(number)[output["name"]].ravel()
            if keep == "top5":
                assert output["top_values"].tolist() == sorted(flat.tolist(), reverse=True)[:5]
    with pytest.raises(ResultsError, match="output 'map' has 5 rows without all values"):
        results.tensor(opened.table(), "map")


def test_large_results_are_left_out_and_say_so(tmp_path, keys):
    with Spool(tmp_path / "spool.db", device="alpha") as spool, \
            Uploader(spool, Store(tmp_path / "store"), keys) as uploader:
        with ResultLog(spool, **COMMON, full_bytes=1000) as log:
            log.add({"a": np.zeros(900, "u1"), "b": np.arange(101, dtype="u1"), "c": np.zeros(100, "u1")}, cycles=1)
        assert uploader.flush(20)
    [record] = results.Results(Store(tmp_path / "store"), keys.keyring()).records()
    assert [(output["name"], output["kept"], output["shape"]) for output in record["outputs"]] == [
        ("a", "full", [900]), ("b", "top5", [101]), ("c", "full", [100])]
