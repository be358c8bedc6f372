"""The controller: its registers, its memories, and what is in the memory that it shares with the host.

Nothing here exists in a chip with `ChipConfig.controller` unset.

Memory is reached through *windows*. The host gives every client one, and one to the controller itself;
records name offsets in a window, and hardware adds the base and checks the end, so that the firmware
has no way to name memory outside a window. A client's window begins with its two rings:

    0x0000  submission ring, RING_ENTRIES job records
    0x0800  completion ring, RING_ENTRIES completion records; job n is answered in slot n mod RING_ENTRIES
    0x1000  the client's buffers

The controller's window holds the event log and then the boot image.
"""

from .records import RECORDS, CompletionRecord, EventRecord, ImageHeader, JobRecord
from .registers import (
    CONTROLLER_REGISTERS,
    LAUNCH_BASE,
    LAUNCH_COPIED,
    RESULT_BASE,
    RESULT_COUNTERS,
    RESULT_ERRORS,
    STORED_BASE,
    STORED_WORDS,
    WINDOW_BASE,
    WINDOW_STRIDE,
    ControllerRegister,
    host_offset,
)
from .sizes import (
    CHIP_BASE,
    CLIENTS,
    CODE_BASE,
    CODE_BYTES,
    COMPLETION_BYTES,
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    DATA_BASE,
    DATA_BYTES,
    HOST_BASE,
    IMAGE_MAGIC,
    IMAGE_OFFSET,
    JOB_BYTES,
    JOB_MAGIC,
    LOG_EVENTS,
    PATIENCE,
    PERIPHERAL_BASE,
    PRIORITIES,
    RING_ENTRIES,
    RINGS_BYTES,
    ROM_BASE,
    ROM_BYTES,
)
from .states import (
    ENUMS,
    FLAGS,
    BistStatus,
    BootError,
    BootState,
    CopyMode,
    CopyStatus,
    Event,
    EventKind,
    JobFlag,
    JobStatus,
    Launch,
    LaunchStatus,
    Refusal,
)

__all__ = [
    "CHIP_BASE", "CLIENTS", "CODE_BASE", "CODE_BYTES", "COMPLETION_BYTES", "COMPLETION_RING",
    "CONTROLLER_REGISTERS", "CONTROLLER_WINDOW", "DATA_BASE", "DATA_BYTES", "ENUMS", "FLAGS", "HOST_BASE",
    "IMAGE_MAGIC", "IMAGE_OFFSET", "JOB_BYTES", "JOB_MAGIC", "LAUNCH_BASE", "LAUNCH_COPIED", "LOG_EVENTS",
    "PATIENCE", "PERIPHERAL_BASE", "PRIORITIES", "RECORDS", "RESULT_BASE", "RESULT_COUNTERS", "RESULT_ERRORS",
    "RINGS_BYTES", "RING_ENTRIES", "ROM_BASE", "ROM_BYTES", "STORED_BASE", "STORED_WORDS", "WINDOW_BASE",
    "WINDOW_STRIDE", "BistStatus", "BootError", "BootState", "CompletionRecord", "ControllerRegister", "CopyMode",
    "CopyStatus", "Event", "EventKind", "EventRecord", "ImageHeader", "JobFlag", "JobRecord", "JobStatus", "Launch",
    "LaunchStatus", "Refusal", "host_offset",
]
