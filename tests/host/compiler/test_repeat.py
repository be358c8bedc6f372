"""Merging commands and unrolling the result gives the commands back; what is alike becomes one record."""

import random

import pytest
from lepton.arch import Dma, Tensor
from lepton.arch.repeat import COUNT, unroll
from lepton.compiler.repeat import merge


def random_fields(record, rng):
    fields = {f.name: rng.randint(f.minimum, f.maximum) for f in record.fields}
    return fields | {COUNT[record.name]: 1, "repeat": 0, "first_wait": 0, "last_post": 0}


def single(fields):
    """Without what means nothing in a single command."""
    steps = ("mem_step3", "local_step3", "in_z", "out_z", "res_z", "acc_z")
    return {name: value for name, value in fields.items() if name not in steps}


def rounds(record, rng, count):
    """The commands of a repeated one, with a wait of the first's own and a post of the last's own."""
    masks = {"wait": 1 << 6, "post": 1 << 11, "first_wait": rng.choice([0, 1, 10]), "last_post": rng.choice([0, 10])}
    return unroll(record, random_fields(record, rng) | masks | {"repeat": 1, COUNT[record.name]: count})


@pytest.mark.parametrize("record", [Dma, Tensor], ids=lambda record: record.name)
@pytest.mark.parametrize("seed", range(20))
def test_unrolling_gives_the_commands_back(record, seed):
    """Also where a field of some command is changed, so that it must not be merged."""
    rng = random.Random(seed)
    commands = [c for _ in range(8) for c in rounds(record, rng, rng.choice([1, 2, 5, 20]))]
    for fields in rng.sample(commands, len(commands) // 6):
        field = record.find(rng.choice(sorted(single(fields).keys() - {"repeat", "first_wait", "last_post"})))
        fields[field.name] = rng.randint(field.minimum, field.maximum)
    merged, counts = merge(record, commands)
    assert sum(counts) == len(commands)
    again = [fields for stored in merged for fields in unroll(record, stored)]
    assert [single(c) for c in again] == [single(c) for c in commands]


@pytest.mark.parametrize("record", [Dma, Tensor], ids=lambda record: record.name)
def test_a_run_becomes_one_record(record):
    rng = random.Random(1)
    for count in (2, 3, 100):
        commands = rounds(record, rng, count)
        assert len(merge(record, commands)[0]) == 1
        broken = [dict(c) for c in commands]
        broken[1]["layer"] ^= 1
        assert len(merge(record, broken)[0]) == min(count, 3)


def test_counts_end_where_the_field_does():
    commands = rounds(Dma, random.Random(2), Dma.find("count3").maximum)
    more = merge(Dma, [c | {"wait": 0, "post": 0, "offset": 16 * i, "local": 0} for i, c in enumerate(commands * 2)])[0]
    assert [c["count3"] for c in more] == [65535, 65535]
