"""Job records for the tests of the firmware."""

import zlib

from lepton.arch.controller import JOB_MAGIC, RINGS_BYTES, JobRecord


def record(sequence: int, /, **changes: int) -> bytes:
    """A good record, for a window of 16 KiB or more, with changes; its CRC is right unless `crc` is among them."""
    fields = dict(magic=JOB_MAGIC, sequence=sequence, program_offset=RINGS_BYTES, program_size=256, load_count=4,
                  tag=0xAAAA_0000_0000 + sequence * 7) | changes
    data = JobRecord.pack(**fields)
    return data if "crc" in changes else data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")
