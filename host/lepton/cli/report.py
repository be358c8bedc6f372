"""`lepton report`: one inference as a self-contained HTML page, and as JSON."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..bench.measure import memory_bytes
from ..report import ReportDataError, collect, page, read_data
from ..runtime import Session
from ..runtime.costs import measured
from .console import grouped, make_console, working
from .devices import opened
from .files import check_writable, write_text_atomically
from .host_work import typical
from .profile import inputs_for, model_from


def run(arguments: Namespace) -> int:
    console = make_console()
    target = arguments.output or f"{Path(arguments.network).stem}.html"
    for path in (target, arguments.json):
        if path:
            check_writable(path)
    other = read_data(arguments.compare) if arguments.compare else None
    evaluation = _evaluation(arguments.evaluation)
    model = model_from(console, Path(arguments.network), arguments.config, arguments.calibration, dict(arguments.shape),
                       (arguments.input_type, arguments.output_type), dict(arguments.state),
                       arguments.memory)
    inputs = inputs_for(model, arguments.input)
    options = {"memory": arguments.memory, "memory_bytes": memory_bytes(model)} if arguments.device == "rtl" else {}
    with opened(console, arguments.device, model.config, **options) as device, Session(model, device) as session, \
            working(console, "running"):
        alone = measured(model)  # before the inference: the host's first run of each step includes initialization
        report = session.run(inputs).report
    data = collect(model, arguments.device, report, typical([report], alone), evaluation)
    text = page(data, other)
    write_text_atomically(target, text)
    console.print(f"written {target}, {grouped(len(text.encode()))} bytes; open it in a browser")
    if arguments.json:
        write_text_atomically(arguments.json, json.dumps(data, indent=1))
        console.print(f"written {arguments.json}; --compare takes it")
    return 0


def _evaluation(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("accuracy"), dict):
        raise ReportDataError(f"{path}: does not hold what lepton eval --json prints")
    return values
