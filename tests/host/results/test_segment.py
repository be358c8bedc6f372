"""Segments: what was sealed comes out again, and nothing that was altered does."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.results import durable
from lepton.results import segment as segments
from lepton.results.errors import KeyFileError, SegmentError
from lepton.results.keys import DeviceKeys, Keyring

KEYS = DeviceKeys.generate()
ABOUT = {"device": "alpha", "spool": "0" * 32, "sequence": 3, "previous": "", "run": "run", "first": 5, "last": 6,
         "from_ms": 1, "to_ms": 2, "origin": {"model": "net"}, "counters": {"appended": 2}}
LINES = [json.dumps({"i": i, "run": "run", "number": 5 + i}).encode() for i in range(2)]


def a_segment(keys=KEYS, lines=LINES, **changed):
    return segments.seal(keys, lines, **{**ABOUT, **changed})


def test_round_trip_and_key():
    made = a_segment()
    assert made.key == f"results/alpha/000000000003-{made.digest}"
    read = segments.parse(made.data, made.key)
    assert read == made
    assert read.open(KEYS.keyring()) == [json.loads(line) for line in LINES]
    assert (read.header.run, read.header.first, read.header.last, read.header.records) == ("run", 5, 6, 2)
    assert b'"i"' not in made.data, "records are readable without the key"


def test_a_segment_without_records_reports_counters():
    made = a_segment(lines=[], run="", first=0, last=-1, counters={"dropped": 9})
    assert segments.parse(made.data).open(KEYS.keyring()) == []
    with pytest.raises(SegmentError, match="without records must have run ''"):
        a_segment(lines=[])


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_no_altered_bit_and_no_truncation_passes(data):
    made = a_segment()
    at = data.draw(st.integers(0, len(made.data) - 1))
    flipped = bytearray(made.data)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    for altered in (bytes(flipped), made.data[:at]):
        with pytest.raises(SegmentError):
            segments.parse(altered, made.key)
        with pytest.raises(SegmentError):  # and not even under a key of its own
            segments.parse(altered).open(KEYS.keyring())


def test_who_signed_and_who_may_read():
    made, other = a_segment(), DeviceKeys.generate()
    with pytest.raises(SegmentError, match="which is not trusted"):
        made.open(other.keyring())
    with pytest.raises(SegmentError, match=f"encrypted with the data key {KEYS.current}, which is not among the keys"):
        made.open(Keyring({}, frozenset({KEYS.public_hex})))
    # a header that names our key, but was signed by another
    forged = made.data.replace(made.data[len(made.data) - made.header.body_bytes - 64:-made.header.body_bytes],
                               other.signing.sign(b"lepton-segment/2\0" + made.header.canonical()))
    with pytest.raises(SegmentError, match="is forged: its signature is not that of"):
        segments.parse(forged).check_signature({KEYS.public_hex})


def test_a_body_fits_only_its_own_segment():
    made, moved = a_segment(), a_segment(sequence=4)
    body = made.data[-made.header.body_bytes:]
    header = segments.Header(**{**moved.header.__dict__, "nonce": made.header.nonce,
                                "body_sha256": made.header.body_sha256, "plain_sha256": made.header.plain_sha256})
    canonical = header.canonical()
    data = (segments.MAGIC + len(canonical).to_bytes(4, "little") + canonical
            + KEYS.signing.sign(b"lepton-segment/2\0" + canonical) + body)
    with pytest.raises(SegmentError, match="cannot be decrypted: it is altered, or the key is wrong"):
        segments.parse(data).open(KEYS.keyring())


@pytest.mark.parametrize(("changed", "text"), [
    ({"device": "../up"}, r"a device name must be 1 to 64 letters.*not '\.\./up'"),
    ({"run": "a b"}, "a run name must be"),
    ({"first": 6}, "cannot have 2 records from 6 to 6"),
    ({"sequence": -1}, "and the sequence -1"),
    ({"sequence": True}, "sequence must be an integer of at least 0, not True"),
    ({"spool": "x"}, "spool must be 32 hexadecimal digits, not 'x'"),
    ({"origin": {"model": 7}}, "origin must be a map of at most 32 names"),
    ({"counters": {"lost": -1}}, "counters must be a map of at most 32 names"),
])
def test_headers_that_say_nonsense_are_refused(changed, text):
    with pytest.raises(SegmentError, match=text):
        a_segment(**changed)


def test_keys_that_do_not_fit(tmp_path):
    made = a_segment()
    with pytest.raises(SegmentError, match="is damaged: its bytes have the SHA-256"):
        segments.parse(made.data, made.key[:-1] + ("0" if made.key[-1] != "0" else "1"))
    with pytest.raises(SegmentError, match="has the header of number 3 of device 'alpha'"):
        segments.parse(made.data, made.key.replace("alpha", "beta"))
    with pytest.raises(SegmentError, match="is not the key of a segment"):
        segments.parse(made.data, "results/alpha/7")


def test_key_files(tmp_path):
    made = DeviceKeys.load_or_create(tmp_path / "keys")
    again = DeviceKeys.load_or_create(tmp_path / "keys")
    assert (again.public_hex, again.data, again.current) == (made.public_hex, made.data, made.current)
    assert {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "keys").iterdir()} == \
        {"signing.pem": 0o600, "data.json": 0o600}
    (tmp_path / "keys" / "data.json").chmod(0o644)
    with pytest.raises(KeyFileError, match=r"can be read by others \(mode 644\); correct it with: chmod 600"):
        DeviceKeys.load(tmp_path / "keys")
    (tmp_path / "keys" / "data.json").write_text("{}")
    (tmp_path / "keys" / "data.json").chmod(0o600)
    with pytest.raises(KeyFileError, match="are damaged"):
        DeviceKeys.load(tmp_path / "keys")
    with pytest.raises(KeyFileError, match="there are no keys in"):
        DeviceKeys.load(tmp_path / "none")


def test_keys_that_are_lost_are_not_made_anew(tmp_path):
    """A new data key with the old signing key would hide that stored segments cannot be read any more."""
    DeviceKeys.load_or_create(tmp_path)
    (tmp_path / "data.json").unlink()
    with pytest.raises(KeyFileError, match=r"there are no keys in .*: .*data\.json is missing; restore it from a "):
        DeviceKeys.load_or_create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["signing.pem"]


def test_keys_whose_making_was_cut_off_are_completed(tmp_path, monkeypatch):
    create = durable.create

    def crash(path, content):
        if path.name == "signing.pem":
            raise KeyboardInterrupt
        create(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "create", crash)
        with pytest.raises(KeyboardInterrupt):
            DeviceKeys.load_or_create(tmp_path)
    made = DeviceKeys.load_or_create(tmp_path)
    assert DeviceKeys.load(tmp_path).public_hex == made.public_hex
