"""The ingest service under all attacks at once, in small: an honest device is not refused, and the memory is bounded.

`lepton bench service` measures the same with all attackers, and the times, which depend on the machine's other load.
"""

from lepton.bench.cloud import SERVICE_NAMES
from lepton.bench.service_load import SERVICE_ROWS, LoadScale, measure_attacks, measure_reconnect

MEMORY = 400 << 20  # bytes, the bound of issue 16


def test_all_attacks_at_once(tmp_path):
    scale = LoadScale(silent=100, half_open=160, strangers=4, tricklers=4, readers=2, pairs=12)
    found = measure_attacks(tmp_path, scale)
    assert found.refused == 0
    assert found.memory_bytes < MEMORY
    assert found.events["closed"] > 0  # silent and half-open connections have ended
    assert found.events["HTTP/1.1 200 OK"] > 0  # readers are served meanwhile


def test_devices_that_connect_at_once(tmp_path):
    found = measure_reconnect(tmp_path, 60)
    assert found.stored == 60
    assert found.memory_bytes < MEMORY


def test_rows_have_names():
    assert tuple(SERVICE_ROWS) == SERVICE_NAMES
