"""The records in memory that the host and the firmware exchange: jobs, completions, events, the boot image's header."""

from ..commands import Engine, Region
from ..record import Field, Record
from ..registers import COUNTERS
from .sizes import CLIENTS, COMPLETION_BYTES, IMAGE_MAGIC, JOB_BYTES, JOB_MAGIC, PRIORITIES
from .states import EventKind, JobStatus, Refusal


def _reserved(bits: int, number: int = 0) -> Field:
    return Field(f"reserved{number}", bits, "zero")


JobRecord = Record("JobRecord", JOB_BYTES, (
    Field("magic", 32, f"{JOB_MAGIC:#x}"),
    Field("sequence", 32, "jobs that the client submitted before, modulo 2**32"),
    Field("flags", 8, "`JobFlag`"),
    Field("priority", 8, f"0..{PRIORITIES - 1}, higher first; at most what the client may"),
    _reserved(16),
    Field("time_limit", 32, "cycles; 0: the client's limit"),
    Field("timeout", 32, "the TIMEOUT register: cycles without an answer from memory"),
    Field("program_hash", 32, "CRC32 of the region PROGRAM, of its whole words"),
    *(field for e in Engine for field in (
        Field(f"{e.name.lower()}_program", 32, f"offset of the {e.name} stream in PROGRAM, a multiple of 64"),
        Field(f"{e.name.lower()}_count", 32, "its commands"))),
    *(field for r in Region for field in (
        Field(f"{r.name.lower()}_offset", 32, f"of the region {r.name} in the client's window"),
        Field(f"{r.name.lower()}_size", 32, "its bytes; 0: none"))),
    Field("snapshot_offset", 32, "where snapshots go in the client's window, a multiple of 4"),
    Field("snapshot_count", 32, "slots to copy, from slot 0"),
    Field("tag", 64, "given back in the completion"),
    _reserved(160, 1),
    Field("crc", 32, "CRC32 of the bytes before it"),
), "What a client asks for: one job. Offsets are in its window.")

CompletionRecord = Record("CompletionRecord", COMPLETION_BYTES, (
    Field("sequence", 32, "of the job"),
    Field("status", 8, "its outcome", enum=JobStatus),
    Field("reason", 8, "why it was refused", enum=Refusal),
    Field("error_code", 8, "`ErrorCode`, where the chip stopped it"),
    Field("error_engine", 8, "`Engine`"),
    Field("error_command", 32, "index of the command in its stream"),
    Field("error_layer", 32, "layer field of the command"),
    Field("error_address", 64, "offending address or value"),
    Field("tag", 64, "of the job record"),
    Field("start", 64, "TIME at the doorbell"),
    Field("accepted", 64, "TIME when the record was taken"),
    *(Field(name.lower(), 32, doc) for name, doc in COUNTERS),
    _reserved(320),
    Field("program_hash", 32, "of the job record"),
), "What became of a job.")

EventRecord = Record("EventRecord", 32, (
    Field("sequence", 32, "events before this one"),
    Field("kind", 8, "what happened", enum=EventKind),
    Field("client", 8, f"whose; {CLIENTS}: the controller"),
    _reserved(16),
    Field("time", 64, "TIME"),
    *(Field(f"arg{i}", 32, "see `EventKind`") for i in range(4)),
), "An entry of the event log; the log is a ring of LOG_EVENTS.")

ImageHeader = Record("ImageHeader", 128, (
    Field("magic", 32, f"{IMAGE_MAGIC:#x}"),
    Field("version", 32, "of the firmware: major, minor, patch in a byte each"),
    Field("architecture", 32, "VERSION of the chip that it is for"),
    Field("code_bytes", 32, "code, directly after the header"),
    Field("code_crc", 32, "its CRC32"),
    Field("image_bytes", 32, "header and everything behind it"),
    Field("test_job", 32, "offset in the controller's window of the self-test's job record"),
    Field("test_output", 32, "and of its result"),
    Field("test_bytes", 32, "size of the result"),
    Field("test_crc", 32, "CRC32 that it must have"),
    _reserved(192),
    Field("signature", 512, "Ed25519, over the image with this field zero"),
), "Before the firmware's code, at IMAGE_OFFSET in the controller's window.")

RECORDS = (JobRecord, CompletionRecord, EventRecord, ImageHeader)
