"""What devices have sent is read back: as a table, by SQL, as files, in Python."""

import random

import duckdb
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from lepton import results
from lepton.cli import main
from lepton.results import (
    DeviceKeys,
    KeyFileError,
    ResultLog,
    ResultsError,
    SegmentError,
    Spool,
    Store,
    Uploader,
    keys,
    pem,
)

from tests.host.results.reading import COMMON, outputs, send


@pytest.fixture(scope="module")
def organisation(tmp_path_factory):
    """A private key that reads, and its public part."""
    path = tmp_path_factory.mktemp("organisation") / "reader.pem"
    pem.make_reader(path)
    return path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, organisation):
    """A store with results of two devices that cannot read each other's: its path and the public keys."""
    folder = tmp_path_factory.mktemp("fleet")
    signers = []
    for device, runs in (("alpha", {"one": range(100), "two": range(100, 150)}), ("beta", {"three": range(150, 200)})):
        keys.add_recipient(folder / device, pem.read_recipient(organisation.with_suffix(".pub.pem")))
        device_keys = DeviceKeys.load_or_create(folder / device)
        signers.append(pem.signer_pem(device_keys.public_hex))
        for run, numbers in runs.items():
            send(folder / "store", folder / f"{device}.db", device_keys, run, numbers, device)
    (folder / "signers.pem").write_bytes(b"".join(signers))
    return folder


@pytest.fixture
def opened(fleet, organisation):
    return lambda **selection: results.open(fleet / "store", keys=[organisation, fleet / "signers.pem"], **selection)


def test_full_results_read_back_equal(opened):
    found = list(opened().records())
    assert len(found) == 200
    for record in found:
        number = int(record["name"].split()[1])
        assert (record["cycles"], record["label"], record["model"], record["backend"]) == (
            1000 + number, number % 10, "net", "rtl")
        expected = outputs(number)
        for output in record["outputs"]:
            assert output["values"].dtype == expected[output["name"]].dtype
            np.testing.assert_array_equal(output["values"], expected[output["name"]], strict=True)
        assert [(output.get("scale"), output.get("zero_point")) for output in record["outputs"]] == [
            (0.25, -3), (None, None)]


def test_tensors(opened):
    table = opened(run="two").table()
    np.testing.assert_array_equal(results.tensor(table, "classes"),
                                  np.stack([outputs(n)["classes"] for n in range(100, 150)]), strict=True)
    np.testing.assert_array_equal(results.tensor(table, "map"),
                                  np.stack([outputs(n)["map"] for n in range(100, 150)]), strict=True)
    with pytest.raises(ResultsError, match="there is no output 'other'; there are: classes, map"):
        results.tensor(table, "other")


def test_sql(opened):
    rows = opened().query("SELECT device, fields.label AS label, count(*) AS n, min(cycles) AS least FROM results "
                          "GROUP BY ALL ORDER BY ALL").to_pylist()
    assert len(rows) == 20
    assert rows[0] == {"device": "alpha", "label": 0, "n": 15, "least": 1000}
    [row] = opened(run="three").query("SELECT sum(outputs.classes.scale * (outputs.classes.values[1] - "
                                      "outputs.classes.zero_point)) AS s FROM results").to_pylist()
    assert row["s"] == pytest.approx(sum(0.25 * (int(outputs(n)["classes"][0, 0]) + 3) for n in range(150, 200)))
    for sql, text in (("SELEC", "SQL: Parser Error"), ("SELECT nothing FROM results", "SQL: Binder Error"),
                      ("", "the SQL is no question: give a SELECT")):
        with pytest.raises(ResultsError, match=text):
            opened().query(sql)


def test_data_frame(opened):
    frame = opened(device="beta").pandas()
    assert len(frame) == 50
    assert frame["fields.label"].tolist() == [n % 10 for n in range(150, 200)]
    assert frame["outputs.classes.values"][0].tolist() == outputs(150)["classes"].ravel().tolist()


def test_export(opened, tmp_path):
    assert opened().export(tmp_path / "all.parquet") == 200
    table = opened().table()
    assert pq.read_table(tmp_path / "all.parquet").to_pylist() == table.to_pylist()
    counted = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/all.parquet' WHERE fields.label = 3").fetchall()
    assert counted == [(20,)]
    opened().export(tmp_path / "all.csv")
    csv = pyarrow.csv.read_csv(tmp_path / "all.csv")
    assert csv.num_rows == 200
    assert csv["outputs.classes.values"][0].as_py() == str(outputs(0)["classes"].ravel().tolist())
    with pytest.raises(ResultsError, match="the form must be one of parquet, csv, not 'xlsx'"):
        opened().export(tmp_path / "all.xlsx")


def test_runs_need_no_secret_key(fleet):
    runs = results.open(fleet / "store", keys=[fleet / "signers.pem"]).runs()
    assert [(run.device, run.run, run.model, run.backend, run.records, run.segments) for run in runs] == [
        ("alpha", "one", "net", "rtl", 100, 4), ("alpha", "two", "net", "rtl", 50, 2),
        ("beta", "three", "net", "rtl", 50, 2)]


def test_selection(opened):
    everything = opened().runs()
    today = {key.split("date=")[1][:10] for key in opened()._source.keys(None)}
    assert opened(since=min(today), until=max(today)).runs() == everything
    assert [run.run for run in opened(device="beta", since=min(today)).runs()] == ["three"]
    assert opened(since="2999-01-01").runs() == opened(until="1999-01-01").runs() == []
    with pytest.raises(ResultsError, match="has no results of run none from 2020-01-01; `lepton results list` shows"):
        opened(run="none", since="2020-01-01").table()


def test_who_cannot_read(fleet, organisation, tmp_path):
    """A neighbouring device with all public keys, a stranger with a reader's key, a reader without trusted keys."""
    with pytest.raises(SegmentError, match="none of these keys is given"):
        results.open(fleet / "store", keys=[fleet / "beta", fleet / "signers.pem"]).table()
    pem.make_reader(tmp_path / "stranger.pem")
    with pytest.raises(SegmentError, match="none of these keys is given"):
        results.open(fleet / "store", keys=[tmp_path / "stranger.pem", fleet / "signers.pem"]).table()
    with pytest.raises(SegmentError, match="which is not trusted"):
        results.open(fleet / "store", keys=[organisation]).table()
    with pytest.raises(results.StoreError, match="nowhere: there is no such folder"):
        results.open(tmp_path / "nowhere", keys=[organisation])


def test_segments_with_different_columns_fit_one_table(tmp_path, keys):
    """Other fields, other types, other shapes and other outputs in each run."""
    store = Store(tmp_path / "store")
    with Spool(tmp_path / "spool.db", device="alpha") as spool, Uploader(spool, store, keys) as uploader:
        for run, records in {"a": [{"x": 1, "only": "a"}], "b": [{"x": 1.5, "y": True}], "c": [{"y": "text"}],
                             "d": [{"y": [1, 2]}], "e": [{}]}.items():
            spool.append_many(run, records)
        assert uploader.flush(20)
        for run, value in (("f", np.zeros((2, 2), "i1")), ("g", np.ones(3, "i2")), ("h", np.zeros((1,), "f2"))):
            with ResultLog(spool, **COMMON, run=run) as log:
                log.add({"out": value}, cycles=1)
        assert uploader.flush(20)
    opened = results.Results(store, keys.keyring())
    rows = opened.query("SELECT run, fields.x AS x, fields.y AS y, fields.only AS o, outputs.out.values AS v FROM "
                        "results ORDER BY run").to_pylist()
    assert [(row["run"], row["x"], row["y"], row["o"]) for row in rows] == [
        ("a", 1.0, None, "a"), ("b", 1.5, "true", None), ("c", None, '"text"', None), ("d", None, "[1, 2]", None),
        *((run, None, None, None) for run in "efgh")]
    assert [row["v"] for row in rows[5:]] == [[0] * 4, [1, 1, 1], [0]]
    assert [record.get("y") for record in opened.records()][:4] == [None, True, "text", [1, 2]]


def test_an_altered_segment_is_not_read(tmp_path, keys):
    send(tmp_path / "store", tmp_path / "spool.db", keys, "run", range(50))
    store = Store(tmp_path / "store")
    path = tmp_path / "store" / random.Random(1).choice(store.keys())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    opened = results.Results(store, keys.keyring())
    for use in (opened.table, opened.runs, lambda: list(opened.records())):
        with pytest.raises(SegmentError, match="is damaged: its bytes have the SHA-256"):
            use()


def test_the_commands(fleet, organisation, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    given = ["--store", str(fleet / "store"), "--keys", str(organisation), "--keys", str(fleet / "signers.pem")]

    def lepton(*arguments):
        status = main(["results", *arguments, *given])
        out, err = capsys.readouterr()
        return status, out, err

    status, out, _ = lepton("list")
    assert status == 0
    assert [line.split()[:4] for line in out.splitlines()[2:]] == [
        ["one", "alpha", "net", "rtl"], ["two", "alpha", "net", "rtl"], ["three", "beta", "net", "rtl"]]
    status, out, _ = lepton("list", "--json", "--device", "beta")
    assert status == 0 and '"records": 50' in out
    status, out, _ = lepton("query", "SELECT run, count(*) AS n FROM results GROUP BY ALL ORDER BY n DESC, run")
    assert [line.split() for line in out.splitlines()[2:]] == [["one", "100"], ["three", "50"], ["two", "50"]]
    status, out, _ = lepton("show", "--limit", "2", "--run", "two")
    assert status == 0 and "2 of 50 results" in out
    assert out.count("outputs.classes.kept") == 2
    status, out, _ = lepton("export", "all.parquet")
    assert status == 0 and "200 results in all.parquet" in out
    assert pq.read_table("all.parquet").num_rows == 200
    status, out, _ = lepton("query", "SELECT number FROM results", "--output", "numbers.csv")
    assert status == 0 and "200 rows in numbers.csv" in out
    status, _, err = lepton("query", "SELECT")
    assert status == 2 and err.startswith("lepton: SQL: Parser Error") and err.count("\n") == 1
    status, _, err = lepton("list", "--run", "none")
    assert status == 2 and "there are no results in" in err
    assert main(["cloud", "verify", *given[1:]]) == 0
    assert "200 records in" in capsys.readouterr().out
    assert main(["cloud", "verify", "--json", "--known", "known.json", *given[1:]]) == 0
    assert '"good": true' in capsys.readouterr().out


@pytest.mark.parametrize("sql", [
    "SELECT fields.label, count(*) FROM results GROUP BY ALL ORDER BY ALL", "SELECT count(*) FROM results",
    "FROM results ORDER BY run, number", "SELECT results FROM results ORDER BY run, number", "DESCRIBE results",
    "SELECT run FROM results WHERE number = 3 AND cycles > 0",
    "SELECT COLUMNS('^c.*') FROM results ORDER BY cycles", "SELECT 1",
    "WITH a AS (SELECT run, number FROM results) SELECT max(outputs.classes.values[1]) FROM results JOIN a USING (run)",
    "SELECT (SELECT max(cycles) FROM results r WHERE r.run = s.run) m FROM results s ORDER BY m",
    "SELECT * EXCLUDE (outputs) FROM results ORDER BY run, number"])
def test_a_question_reads_only_what_it_needs_and_answers_the_same(opened, sql):
    found = opened(device="alpha")
    expected = results.tables.query(found.table(), sql)
    assert found.query(sql).to_pylist() == expected.to_pylist()
    assert found.query(sql).to_pylist() == expected.to_pylist()  # from what it has kept


def test_a_question_about_one_column_does_not_unpack_the_others(opened, monkeypatch):
    read = []
    original = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda self, columns=None, **options: read.append(columns) or original(
        self, columns, **options))
    found = opened()
    found.query("SELECT avg(cycles) FROM results")
    assert read and all(columns == ["run", "number", "cycles"] for columns in read)
    monkeypatch.setattr(found._source, "get", None)  # the second question needs no object again
    assert found.query("SELECT count(fields.label) AS n FROM results").to_pylist() == [{"n": 200}]


def test_old_segments_for_a_new_recipient(fleet, organisation, tmp_path, capsys):
    """By a file of wrapped data keys: no object of the store is written again."""
    pem.make_reader(tmp_path / "new.pem")
    pem.make_reader(tmp_path / "other.pem")
    before = {path: path.read_bytes() for path in (fleet / "store").rglob("*") if path.is_file()}
    common = ["--store", str(fleet / "store"), "--keys", str(fleet / "signers.pem")]
    assert main(["results", "show", *common, "--keys", str(tmp_path / "new.pem")]) == 2
    assert "none of these keys is given" in capsys.readouterr().err
    assert main(["results", "grant", str(tmp_path / "grants.cose"), *common, "--keys", str(organisation),
                 "--run", "one", "--to", str(tmp_path / "new.pub.pem")]) == 0
    assert {path: path.read_bytes() for path in (fleet / "store").rglob("*") if path.is_file()} == before
    given = [tmp_path / "grants.cose", tmp_path / "new.pem", fleet / "signers.pem"]
    one = results.open(fleet / "store", keys=given, run="one").table()
    assert one.equals(results.open(fleet / "store", keys=[organisation, fleet / "signers.pem"], run="one").table())
    with pytest.raises(SegmentError, match="none of these keys is given"):  # another run was not granted
        results.open(fleet / "store", keys=given, run="two").table()
    with pytest.raises(KeyFileError, match=r"grants .* cannot be read: they are encrypted for .*; give the "):
        results.open(fleet / "store", keys=[tmp_path / "grants.cose", tmp_path / "other.pem"])
    # who was granted something can pass it on, and no one else is trusted for it
    granted, count = results.open(fleet / "store", keys=given, run="one").grant(
        pem.read_recipient(tmp_path / "other.pub.pem"))
    assert count == 4
    (tmp_path / "passed.cose").write_bytes(granted)
    with pytest.raises(SegmentError, match="which is not trusted"):
        results.open(fleet / "store", keys=[tmp_path / "passed.cose", tmp_path / "other.pem"], run="one").table()
    altered = bytearray(granted)
    altered[40] ^= 1
    (tmp_path / "passed.cose").write_bytes(altered)
    with pytest.raises(KeyFileError, match=r"the grants .* cannot be read"):
        results.open(fleet / "store", keys=[tmp_path / "passed.cose", tmp_path / "other.pem"])
