"""Why a job stops: the codes in the ERROR_CODE register."""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Cause of an error stop; the text says what it means and what to do."""

    NONE = 0
    ILLEGAL_OPCODE = 1
    ILLEGAL_FIELD = 2
    LOCAL_BOUNDS = 3
    LOCAL_ALIGNMENT = 4
    ACCUMULATOR_BOUNDS = 5
    MEMORY_BOUNDS = 6
    AXI_SLVERR = 7
    AXI_DECERR = 8
    AXI_TIMEOUT = 9
    DEADLOCK = 10
    SEMAPHORE_OVERFLOW = 11
    ABORTED = 12
    AXI_PROTOCOL = 13

    @property
    def text(self) -> str:
        return _TEXT[self]


_TEXT = {
    ErrorCode.NONE: "no error",
    ErrorCode.ILLEGAL_OPCODE: "the engine does not know the opcode; "
                              "was the program compiled for this chip version?",
    ErrorCode.ILLEGAL_FIELD: "a count is zero, a reserved field is not, or a value is out of range; "
                             "recompile the program",
    ErrorCode.LOCAL_BOUNDS: "an on-chip address lies outside its memory; "
                            "was the program compiled for a larger configuration?",
    ErrorCode.LOCAL_ALIGNMENT: "an on-chip address is not a multiple of the lane count; recompile the program",
    ErrorCode.ACCUMULATOR_BOUNDS: "a command needs more accumulator rows than the chip has; "
                                  "was it compiled for a larger configuration?",
    ErrorCode.MEMORY_BOUNDS: "a transfer leaves its memory region; check the sizes of the buffers given to the job",
    ErrorCode.AXI_SLVERR: "memory answered SLVERR; the address shown failed in the memory system",
    ErrorCode.AXI_DECERR: "memory answered DECERR; no memory exists at the address shown",
    ErrorCode.AXI_TIMEOUT: "memory did not answer within TIMEOUT cycles; its outstanding transactions must end, "
                           "or be forgotten with CONTROL.MEMORY_RESET, before the next job",
    ErrorCode.DEADLOCK: "every engine waits for a semaphore that none will post; "
                        "the program's waits and posts do not match",
    ErrorCode.SEMAPHORE_OVERFLOW: "a semaphore was posted more than 255 times beyond its waits",
    ErrorCode.ABORTED: "the host aborted the job",
    ErrorCode.AXI_PROTOCOL: "memory broke the AXI protocol: RLAST on the wrong beat, a response that nothing asked "
                            "for, or a write response before its data; CONTROL.MEMORY_RESET must follow",
}
