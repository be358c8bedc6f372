"""What stops a command."""

from lepton.arch import ErrorCode


class CommandError(Exception):
    """A command stops the job: `code` and the offending address or field value."""

    def __init__(self, code: ErrorCode, address: int):
        super().__init__(f"{code.name} at {address:#x}: {code.text}")
        self.code = code
        self.address = address
