"""Records: what is packed comes back, and what does not fit is refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lepton.arch import Dma, Tensor
from lepton.arch.record import Field, FieldError, Record

Small = Record("Small", 2, (Field("low", 3, "three bits"), Field("number", 5, "signed", signed=True),
                            Field("high", 8, "a byte")))


def _values(record):
    return st.fixed_dictionaries({f.name: st.integers(f.minimum, f.maximum) for f in record.fields})


def _with_values():
    return st.sampled_from([Small, Dma, Tensor]).flatmap(lambda record: st.tuples(st.just(record), _values(record)))


@given(_with_values())
def test_unpack_inverts_pack(case):
    record, values = case
    data = record.pack(**values)
    assert len(data) == record.size
    assert record.unpack(data) == values


@given(st.sampled_from([Small, Dma, Tensor]).flatmap(
    lambda record: st.tuples(st.just(record), st.binary(min_size=record.size, max_size=record.size))))
def test_pack_inverts_unpack(case):
    record, data = case
    assert record.pack(**record.unpack(data)) == data


@given(st.sampled_from([Small, Dma, Tensor]).flatmap(
    lambda record: st.tuples(st.just(record), st.sampled_from(record.fields))))
def test_a_field_lies_at_its_offset_and_nowhere_else(case):
    record, field = case
    all_ones = -1 if field.signed else field.maximum
    word = int.from_bytes(record.pack(**{field.name: all_ones}), "little")
    assert word == ((1 << field.bits) - 1) << record.offset(field.name)


def test_bytes_are_little_endian_and_dense():
    assert Small.pack(low=5, number=-2, high=0xA7) == bytes([5 | 0b11110 << 3, 0xA7])
    assert Dma.pack(opcode=0x10, layer=0x1234, offset=0x01020304)[:16].hex() == "10003412" + "00" * 8 + "04030201"


def test_fields_not_named_are_zero():
    assert Dma.pack() == bytes(64) and Tensor.pack() == bytes(128)


def test_limits_follow_bits_and_sign():
    assert (Small.fields[0].minimum, Small.fields[0].maximum) == (0, 7)
    assert (Small.fields[1].minimum, Small.fields[1].maximum) == (-16, 15)


@pytest.mark.parametrize(("values", "text"), [
    ({"low": 8}, r"^Small\.low must be in 0\.\.7, not 8$"),
    ({"low": -1}, r"^Small\.low must be in 0\.\.7, not -1$"),
    ({"number": 16}, r"^Small\.number must be in -16\.\.15, not 16$"),
    ({"number": -17}, r"^Small\.number must be in -16\.\.15, not -17$"),
    ({"lower": 1}, r"^Small has no field 'lower'; it has low, number, high$"),
])
def test_pack_refuses_what_does_not_fit(values, text):
    with pytest.raises(FieldError, match=text):
        Small.pack(**values)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_unpack_refuses_another_size(size):
    with pytest.raises(FieldError, match=rf"^Small takes 2 bytes, not {size}$"):
        Small.unpack(bytes(size))


def test_offset_refuses_an_unknown_name():
    with pytest.raises(FieldError, match=r"^Small has no field 'middle'$"):
        Small.offset("middle")


def test_a_declaration_must_fill_its_size():
    with pytest.raises(FieldError, match=r"^Odd: fields fill 7 bits, the record has 8$"):
        Record("Odd", 1, (Field("a", 7, "seven bits"),))


def test_a_declaration_names_a_field_once():
    with pytest.raises(FieldError, match=r"^Twice: two fields have the same name$"):
        Record("Twice", 1, (Field("a", 4, ""), Field("a", 4, "")))
