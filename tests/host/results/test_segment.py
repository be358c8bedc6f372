"""Segments: what was sealed comes out again, and nothing that was altered does."""

import json
from dataclasses import asdict

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.results import envelope
from lepton.results import segment as segments
from lepton.results.errors import SegmentError
from lepton.results.keyring import Keyring, recipient_id
from lepton.results.keys import DeviceKeys

KEYS = DeviceKeys.generate()
ABOUT = {"device": "alpha", "spool": "0" * 32, "sequence": 3, "previous": "", "run": "run", "first": 5, "last": 6,
         "from_ms": 1, "to_ms": 2, "origin": {"model": "net"}, "counters": {"appended": 2}}
LINES = [json.dumps({"i": i, "run": "run", "number": 5 + i}).encode() for i in range(2)]
RECORDS = [json.loads(line) for line in LINES]


def a_segment(keys=KEYS, lines=LINES, **changed):
    return segments.seal(keys, lines, **{**ABOUT, **changed})


def test_round_trip_and_key():
    made = a_segment()
    assert made.key == (f"results/tenant=default/device=alpha/date=1970-01-01/{'0' * 32}-000000000003-{made.digest}"
                        ".cose")
    read = segments.parse(made.data, made.key)
    assert read == made
    assert read.open(KEYS.keyring()) == RECORDS
    assert (read.header.run, read.header.first, read.header.last, read.header.records) == ("run", 5, 6, 2)


def test_nothing_in_the_clear_depends_on_the_records():
    """Neither the records nor a digest of them: equal headers are in the clear whatever the records are."""
    one = a_segment()
    two = a_segment(lines=[line.replace(b'"i": ', b'"i": 1') for line in LINES])
    assert one.envelope.header == two.envelope.header
    assert len(one.data) == len(two.data)
    again = a_segment()
    assert again.envelope.payload != one.envelope.payload
    assert set(one.envelope.header) == {
        "format", "tenant", "device", "spool", "sequence", "previous", "run", "first", "last", "records", "from_ms",
        "to_ms", "origin", "counters"}


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
    for altered in (bytes(flipped), made.data[:at], made.data + b"\0"):
        with pytest.raises(SegmentError):
            segments.parse(altered, made.key)
        with pytest.raises(SegmentError):  # and not even under a key of its own
            segments.parse(altered).open(KEYS.keyring())


def test_each_altered_field_of_the_header_is_noticed():
    made = a_segment()
    others = {"tenant": "other", "device": "other", "spool": "1" * 32, "previous": "1" * 64, "run": "other", "first": 4,
              "records": 1, "origin": {"model": "other"}, "counters": {"appended": 9}}
    for name, value in asdict(made.header).items():
        if name == "format":
            continue
        changed = {**made.envelope.header, name: others[name] if name in others else value + 1}
        protected, unprotected, payload, signature = cbor2.loads(made.data).value
        described = {**cbor2.loads(protected), "lepton": changed}
        data = cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(described), unprotected, payload, signature]))
        with pytest.raises(SegmentError, match="is forged: its signature is not that of"):
            segments.parse(data).open(KEYS.keyring())


def test_an_object_has_one_form_only():
    """The same signed content in another encoding would be another object for the same segment."""
    made = a_segment()
    parts = cbor2.loads(made.data).value
    forms = {
        "no unprotected header": cbor2.dumps(cbor2.CBORTag(18, [parts[0], {1: 2}, *parts[2:]])),
        "the shortest CBOR form": b"\xd8\x12" + made.data[1:],
        "are not a COSE object": cbor2.dumps(parts),
    }
    for text, data in forms.items():
        assert data != made.data
        with pytest.raises(SegmentError, match=text):
            segments.parse(data)


def test_who_signed_and_who_may_read():
    made = a_segment()
    other = DeviceKeys.generate()
    with pytest.raises(SegmentError, match="which is not trusted"):
        made.open(other.keyring())
    with pytest.raises(SegmentError, match=f"encrypted for {recipient_id(KEYS.recipients[0])}, and none of these keys"):
        made.open(Keyring(frozenset({KEYS.public_hex}), (), other.keyring().readers))
    # a header that names our key, but was signed by another
    forged = envelope.sign(other, made.envelope.header, segments.CONTENT_TYPE, made.envelope.payload)
    forged = forged.replace(bytes.fromhex(other.public_hex), bytes.fromhex(KEYS.public_hex))
    with pytest.raises(SegmentError, match="is forged: its signature is not that of"):
        segments.parse(forged).check_signature(KEYS.keyring())


def test_several_recipients_each_read_alone_and_devices_do_not():
    readers = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    device = DeviceKeys.generate(*(key.public_key() for key in readers))
    made = a_segment(keys=device)
    trusted = device.keyring()
    assert trusted.readers == {}
    with pytest.raises(SegmentError, match="none of these keys is given"):
        made.open(trusted)
    for key in readers:
        assert made.open(trusted | Keyring(readers={recipient_id(key.public_key()): key})) == RECORDS
    neighbour = DeviceKeys.generate(*(key.public_key() for key in readers))
    with pytest.raises(SegmentError, match="none of these keys is given"):
        made.open(trusted | neighbour.keyring())
    wrong = {recipient_id(readers[0].public_key()): readers[1]}
    with pytest.raises(SegmentError, match="cannot be decrypted: it is altered, or the key is wrong"):
        made.open(trusted | Keyring(readers=wrong))


def test_a_body_fits_only_its_own_segment():
    made = a_segment()
    moved = a_segment(sequence=4)
    data = envelope.sign(KEYS, moved.envelope.header, segments.CONTENT_TYPE, made.envelope.payload)
    with pytest.raises(SegmentError, match="cannot be decrypted: it is altered, or the key is wrong"):
        segments.parse(data).open(KEYS.keyring())


@pytest.mark.parametrize(("changed", "text"), [
    ({"device": "../up"}, r"a device name must be 1 to 64 letters.*not '\.\./up'"),
    ({"tenant": "a/b"}, r"a tenant name must be 1 to 64 letters.*not 'a/b'"),
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


@pytest.mark.parametrize("data", [b"", b"\xd2", b"\xd2\x80", b"\xd2\x84\x40\xa0\x40\x40", b"\x9f" * 5000,
                                  b"\xd2\x84\x5b" + b"\xff" * 8,
                                  cbor2.dumps(cbor2.CBORTag(18, [b"\xa0", {}, b"", b""]))])
def test_bytes_that_are_no_segment(data):
    with pytest.raises(SegmentError):
        segments.parse(data)


def test_a_body_that_the_header_does_not_describe():
    made = a_segment()
    for changed in ({"records": 1, "last": 5}, {"run": "walk"}, {"first": 4}, {"last": 7}):
        body = made.envelope.decrypt(KEYS.keyring().readers)
        data = envelope.seal(KEYS, {**made.envelope.header, **changed}, segments.CONTENT_TYPE, body)
        with pytest.raises(SegmentError, match="its header says"):
            segments.parse(data).open(KEYS.keyring())
    data = envelope.seal(KEYS, made.envelope.header, segments.CONTENT_TYPE, b"PAR1, but not really")
    with pytest.raises(SegmentError, match="its body cannot be read"):
        segments.parse(data).open(KEYS.keyring())


def test_keys_that_do_not_fit(tmp_path):
    made = a_segment()
    wrong = segments.split_key(made.key)
    with pytest.raises(SegmentError, match="is damaged: its bytes have the SHA-256"):
        segments.parse(made.data, segments.join_key(wrong._replace(digest="0" * 64)))
    for changed in ({"device": "beta"}, {"tenant": "other"}, {"date": "1970-01-02"}, {"sequence": 4}):
        with pytest.raises(SegmentError, match=f"has the header of {made.key}"):
            segments.parse(made.data, segments.join_key(wrong._replace(**changed)))
    with pytest.raises(SegmentError, match="is not the key of a segment"):
        segments.parse(made.data, "results/alpha/7")
