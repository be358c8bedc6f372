"""The service's log: one line for each event, as JSON for programs or as text for people."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Format = Literal["json", "text"]
FIELDS = ("request_id", "client", "address", "status", "milliseconds")  # of a record, if it has them


class JsonFormatter(logging.Formatter):
    """A JSON object: `time` (UTC, RFC 3339), `level`, `logger`, `message`, the fields of `FIELDS`, and `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
                "process": record.process}
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """The same as words in a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = "".join(f" {name}={value}" for name in FIELDS if (value := getattr(record, name, None)) is not None)
        error = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        # a client must not write lines of its own
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        return f"{time} {record.levelname.lower()} {record.name}: {message}{fields}{error}"


def set_up(form: Format, level: str) -> None:
    """Write the logs of the service, uvicorn and the libraries to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level="WARNING", handlers=[handler], force=True)
    logging.getLogger("lepton").setLevel(level.upper())
