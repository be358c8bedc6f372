"""`lepton sim`: runs the shipped network on the chip, and compares with the golden model and LiteRT's outputs."""

import time
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from .. import models
from ..arch import ChipConfig
from ..models import LeptonModel
from ..program import CompiledModel
from ..runtime import ComparingSession, Difference, Report, Result, Session, difference
from ..runtime.costs import measured
from ..upload import Upload, project_place
from .console import facts, grouped, make_console, progress, scaled, working
from .devices import opened
from .files import FileError, check_writable
from .host_work import typical
from .status import EXIT_DIFFERENT
from .tables import chip_facts, layer_table, network_facts

if TYPE_CHECKING:
    from ..results import ResultLog

MODEL = "mnist"
SHOWN_DIFFERENCES = 8
DEFAULT_WINDOW = (0, 20_000)  # cycles in the waveforms: all of the first image on `base`


@dataclass
class Tally:
    """The outcomes of the images so far."""

    images: int = 0
    identical: int = 0
    correct: int = 0
    bytes_compared: int = 0
    seconds: float = 0.0  # that the device took
    simulated_hz: float = 0.0  # of the board alone, without the Python code around it; 0 if the device does not say
    reports: list[Report] = field(default_factory=list)
    differences: list[tuple[int, Difference]] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(report.cycles for report in self.reports)


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.window and not arguments.waves:
        raise FileError("--window selects the cycles of waveforms; give their file with --waves FILE")
    if arguments.waves:
        if arguments.device != "rtl":
            raise FileError(f"--waves records the chip's signals, which device {arguments.device!r} does not have; "
                            "leave out --device, or give --device rtl")
        check_writable(arguments.waves)
    started = time.monotonic()
    model, compiled = _compile(console, arguments.config)
    count = min(arguments.images, len(model.labels))
    if count < arguments.images:
        console.print(f"note: the network ships with {count} labelled images, so {count} are run, not "
                      f"{arguments.images}")
    console.print(chip_facts(compiled.config, arguments.device))
    console.print(network_facts(compiled))
    with ExitStack() as stack:
        upload = stack.enter_context(Upload(project_place(arguments.store)))
        device = stack.enter_context(opened(console, arguments.device, compiled.config, **_wave_options(arguments)))
        session: Session | ComparingSession
        if arguments.device == "golden":
            session = stack.enter_context(Session(compiled, device))
        else:
            golden = stack.enter_context(opened(console, "golden", compiled.config))
            session = stack.enter_context(ComparingSession(compiled, device, golden))
        log = upload.log(compiled, arguments.device, arguments.results)
        tally = _run_images(console, session, model, compiled, count, log)
        tally.simulated_hz = getattr(device, "simulated_hz", 0.0)
        with working(console, "uploading"):
            upload.finish(log)
    _show(console, arguments, compiled, tally, upload, time.monotonic() - started)
    return 0 if tally.identical == tally.images else EXIT_DIFFERENT


def _compile(console: Console, config: ChipConfig) -> tuple[LeptonModel, CompiledModel]:
    from ..compiler import compile_graph
    with working(console, f"compiling {MODEL} for {config.name}"):
        model = models.load(MODEL)
        return model, compile_graph(model.graph(), config)


def _wave_options(arguments: Namespace) -> dict[str, Any]:
    if not arguments.waves:
        return {}
    return {"waves": arguments.waves, "wave_window": arguments.window or DEFAULT_WINDOW}


def _run_one(session: Session | ComparingSession, inputs: np.ndarray) -> tuple[Result, list[Difference], int]:
    """The result of one image, the differences from the golden model, and the number of bytes compared with it."""
    if isinstance(session, ComparingSession):
        compared = session.run(inputs)
        return compared.result, list(compared.differences), compared.bytes_compared
    return session.run(inputs), [], 0


def _run_images(console: Console, session: Session | ComparingSession, model: LeptonModel, compiled: CompiledModel,
                count: int, log: "ResultLog") -> Tally:
    tally = Tally()
    output = compiled.outputs[0].name
    if not console.is_terminal:
        console.print(f"running {count} images")
    with progress(console) as bar:
        task = bar.add_task("images", total=count, note="")
        for i in range(count):
            result, found, compared = _run_one(session, model.inputs[i:i + 1])
            tally.bytes_compared += compared
            found += difference("output against LiteRT's", result.outputs[output], model.outputs[i:i + 1])
            tally.images += 1
            tally.identical += not found
            tally.differences += [(i, d) for d in found]
            predicted = int(np.argmax(result.outputs[output]))
            tally.correct += predicted == int(model.labels[i])
            tally.seconds += result.report.seconds
            tally.reports.append(result.report)
            log.add(result.outputs, cycles=result.report.cycles, image=i, label=int(model.labels[i]),
                    predicted=predicted, identical=not found)
            bar.update(task, advance=1, note=f"{tally.identical} identical, {tally.correct} correct")
    return tally


def _show(console: Console, arguments: Namespace, compiled: CompiledModel, tally: Tally, upload: Upload,
          seconds: float) -> None:
    report = tally.reports[0]
    console.print()
    console.print(layer_table(report))
    console.print()
    golden = "" if arguments.device == "golden" else "to the golden model and "
    console.print(f"{tally.identical} of {tally.images} images identical {golden}to LiteRT's outputs, byte for byte",
                  style="bold green" if tally.identical == tally.images else "bold red")
    for image, found in tally.differences[:SHOWN_DIFFERENCES]:
        console.print(f"  image {image}: {found}")
    if len(tally.differences) > SHOWN_DIFFERENCES:
        console.print(f"  and {len(tally.differences) - SHOWN_DIFFERENCES} more")
    lines = []
    if golden:
        lines.append(("compared", f"{grouped(tally.bytes_compared)} bytes of the memory that programs write"))
    lines.append(("accuracy", f"{100 * tally.correct / tally.images:.1f} % ({tally.correct} of {tally.images} "
                              "labelled images)"))
    lines += report.facts(typical(tally.reports, measured(compiled)))
    if report.timed:
        cycles = {r.cycles for r in tally.reports}
        if len(cycles) > 1:
            lines.append(("cycles", f"between {grouped(min(cycles))} and {grouped(max(cycles))} over all images"))
        lines.append(("simulation", f"{scaled(tally.simulated_hz or tally.cycles / tally.seconds)} cycles a second; "
                                    f"{grouped(tally.cycles)} cycles took {tally.seconds:.1f} s with the Python code "
                                    "around them"))
    lines.append(("uploaded" if upload.complete else "spooled", upload.summary))
    if arguments.waves:
        lines.append(("waveforms", arguments.waves))
    lines.append(("took", f"{seconds:.1f} s"))
    console.print(facts(lines))
