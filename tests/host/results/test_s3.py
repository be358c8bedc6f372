"""On a real S3 server: conditional puts, races, wrong secrets, parts that resume, and what kills and outages do."""

import hashlib
import json
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import obstore
import pytest
from lepton.cli import main
from lepton.results import Spool, Store, StoreError, Unavailable, Uploader, server, store_identity
from lepton.results.segment import Key, join_key
from lepton.results.verify import verify

from tests.host.results.proxy import Proxy
from tests.host.results.seaweed import kill, needs_program, seaweed, store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seaweed")


@pytest.fixture(scope="module")
def s3(folder):
    with seaweed(folder) as started:
        yield started


def an_object(size, seed=0):
    data = random.Random(seed).randbytes(size)
    return join_key(Key("default", "alpha", "2026-11-30", "0" * 32, seed, hashlib.sha256(data).hexdigest())), data


def test_each_object_once(s3):
    found = store(s3, prefix="once")
    key, data = an_object(1000)
    assert found.put_new(key, data) is True
    assert found.put_new(key, data) is False
    assert found.get(key) == data and found.keys("alpha") == [key] and found.keys("beta") == []


def test_one_of_sixteen_writers_wins(s3):
    found = store(s3, prefix="race")
    key, data = an_object(50_000, 1)
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: found.put_new(key, data), range(16))) == 1


def test_a_bucket_that_was_made_again_is_not_the_store(s3, tmp_path, keys):
    """Results wait until the operator accepts it: what the first bucket held is gone."""
    bucket = replace(s3, bucket="made-again")
    assert server.call_bucket(bucket, "PUT") == 200

    def opened():
        return Store("s3://made-again/x", **s3.options(), client_options={"allow_http": True})

    with Spool(tmp_path / "spool.db", device="cam") as spool:
        spool.append_many("run", [{}] * 10)
        uploader = Uploader(spool, opened(), keys)
        assert uploader.step()
        for key in (*opened().keys(), store_identity.KEY):
            obstore.delete(opened()._store, key)
        for gone in (True, False):
            if gone:
                assert server.call_bucket(bucket, "DELETE") == 204
            else:
                assert server.call_bucket(bucket, "PUT") == 200
            spool.append_many("run", [{}] * 10)
            for running in (uploader, Uploader(spool, opened(), keys)):
                with pytest.raises(Unavailable, match="NoSuchBucket|it has no lepton-store.json" if gone
                                   else "it has no lepton-store.json. Is the disk mounted\\? Was the bucket"):
                    running.step()
        assert opened().keys() == [] and spool.status().sealed == 20 - spool.status().waiting
        assert spool.forget_target("s3://made-again/x")
        running = Uploader(spool, opened(), keys)
        while running.step():
            pass
        assert spool.status().counters["stored"] == 30


def test_wrong_secrets_are_refused(s3):
    options = {**s3.options(), "secret_access_key": "guessed"}
    wrong = Store(s3.url, **options)
    with pytest.raises(Unavailable, match="cannot be used at the moment"):
        wrong.put_new(*an_object(10))


@pytest.mark.parametrize("rate", [10_000, 300_000])
def test_a_slow_link_delivers_objects_that_take_longer_than_the_time_limit(s3, rate):
    """The time limit is for the answer; the body has as long as it needs."""
    key, data = an_object(4 * rate, rate)
    with Proxy(s3.ports["s3"]) as proxy:
        found = Store(f"{s3.url}/slow{rate}", **{**s3.options(), "endpoint": f"http://127.0.0.1:{proxy.port}"},
                      client_options={"allow_http": True, "timeout": timedelta(seconds=2)},
                      retry_config={"max_retries": 0})
        found.identify()
        proxy.rate = rate
        started = time.monotonic()
        assert found.put_new(key, data) is True
        assert time.monotonic() - started > 3
    assert store(s3, prefix=f"slow{rate}").get(key) == data


def test_the_ledger_holds_over_a_bad_network_and_a_killed_server(s3, folder, tmp_path, keys):
    """Producer, uploader, store and reader count the same through cuts, losses, lost answers, outages and SIGKILL."""
    rng = random.Random(9)
    with Proxy(s3.ports["s3"]) as proxy, Spool(tmp_path / "spool.db", device="ledger") as spool:
        done = threading.Event()

        def produce():
            while not done.is_set():
                spool.append_many("run", [{"text": rng.randbytes(rng.randint(0, 300)).hex()} for _ in range(20)])
                time.sleep(0.01)

        producer = threading.Thread(target=produce)
        found = store(s3, proxy.port, "ledger")
        with Uploader(spool, found, keys, segment_records=60, linger=0.02, backoff_base=0.02,
                      backoff_cap=0.2) as uploader:
            producer.start()
            for rule, value in (("cut_after", 3000), ("answers_lost", True), ("lossy", 0.2), ("delay", 0.02),
                                ("down", True)):
                usual = getattr(proxy, rule)
                setattr(proxy, rule, value)
                time.sleep(0.7)
                setattr(proxy, rule, usual)
            kill(folder)
            time.sleep(0.3)
            assert server.up(folder).ports == s3.ports
            done.set()
            producer.join()
            assert uploader.flush(60), uploader.status
        counters = spool.status().counters
        count = spool.last_number("run") + 1
    assert proxy.cuts > 3
    assert counters["appended"] == counters["stored"] == count > 100
    report = verify(store(s3, prefix="ledger"), keys.keyring())
    assert report.good, report
    assert report.records == count


def test_up_and_verify_from_the_command_line(s3, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["cloud", "up", "--folder", str(folder)]) == 0  # it runs already
    shown = capsys.readouterr().out
    found = server.find(folder)
    assert found.endpoint in shown and "s3://lepton" in shown and found.secret_key not in shown
    assert (folder / "server.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "identities.json").stat().st_mode & 0o777 == 0o600
    for name, value in (("AWS_ENDPOINT_URL", found.endpoint), ("AWS_ACCESS_KEY_ID", found.access_key),
                        ("AWS_SECRET_ACCESS_KEY", found.secret_key)):
        monkeypatch.setenv(name, value)
    assert main(["sim", "--device", "golden", "--config", "tiny", "--images", "2", "--store", "s3://lepton/sim"]) == 0
    assert "2 results of run" in capsys.readouterr().out
    assert main(["cloud", "verify", "s3://lepton/sim", "--keys", "data/lepton/keys"]) == 0
    assert "2 records in s3://lepton/sim: every signature, digest, sequence and count is right" in \
        capsys.readouterr().out


@pytest.fixture
def no_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


def test_the_default_server_needs_no_variables(s3, folder, tmp_path, no_variables):
    assert server.access("lepton") == {}
    (tmp_path / "lepton").mkdir()
    (tmp_path / "lepton" / "server").symlink_to(folder)
    assert Store("s3://lepton/default").put_new(*an_object(10)) is True
    assert server.access("other") == {}


def test_without_credentials_no_one_is_asked_for_them(no_variables, monkeypatch):
    with pytest.raises(StoreError, match=r"there are no credentials for 's3://results/x': set AWS_ACCESS_KEY_ID .*, or "
                                         r"start a server with: lepton cloud up"):
        Store("s3://results/x")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    assert Store("s3://results/x").where == "s3://results/x"


def test_results_wait_for_a_server_that_is_stopped(tmp_path, no_variables, keys):
    stopped = server.Server(str(tmp_path), "lepton", "access", "secret", dict.fromkeys(("s3", "filer"), free_port()))
    (tmp_path / "lepton" / "server").mkdir(parents=True)
    (tmp_path / "lepton" / "server" / "server.json").write_text(json.dumps(vars(stopped)))
    with Spool(tmp_path / "spool.db") as spool, Uploader(spool, Store("s3://lepton"), keys) as uploader:
        spool.append("run", {})
        assert uploader.flush(0.1) is False
        assert spool.status().counters["stored"] == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_one_server_for_a_folder(tmp_path):
    """However many start it at once, and even if its starter was killed before it wrote down whom it had started."""
    needs_program()
    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(lambda _: server.up(tmp_path), range(3)))
    known = (tmp_path / "server.json").read_text()
    try:
        assert len({found.pid for found in started}) == 1
        (tmp_path / "server.json").write_text(json.dumps({**json.loads(known), "pid": 0, "started": 0}))
        with pytest.raises(StoreError, match=r"a server that is not in .*server\.json is running in .*: pgrep -f"):
            server.up(tmp_path)
    finally:
        (tmp_path / "server.json").write_text(known)
        kill(tmp_path)


def test_a_folder_for_the_server_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["cloud", "up", "--folder", str(tmp_path / "file" / "x")]) == 2
    assert "cannot make the server's folder" in capsys.readouterr().err


def test_down_of_what_does_not_run(tmp_path, capsys):
    assert main(["cloud", "down", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("the server was not running")
    (tmp_path / "server.json").write_text(json.dumps({"folder": "x"}))
    assert main(["cloud", "down", "--folder", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err
