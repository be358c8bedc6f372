"""`lepton sim`: the shipped network on the chip, held against the golden model and LiteRT's outputs."""

import time
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from ..arch import PRESETS
from ..runtime import ComparingSession, Difference, Report, Session, difference, program_hash
from .console import facts, grouped, make_console, progress, scaled, working
from .devices import opened
from .files import FileError, check_writable
from .main import EXIT_DIFFERENT
from .tables import chip_facts, layer_table, network_facts, speed_facts
from .upload import Upload, project_place

MODEL = "mnist"
SHOWN_DIFFERENCES = 8


@dataclass
class Tally:
    """What became of the images."""

    images: int = 0
    identical: int = 0
    correct: int = 0
    bytes_compared: int = 0
    seconds: float = 0.0  # that the device took
    simulated_hz: float = 0.0  # the board's own figure, without what Python does around it; 0 where it has none
    reports: list[Report] = field(default_factory=list)
    differences: list[tuple[int, Difference]] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(report.cycles for report in self.reports)


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.window and not arguments.waves:
        raise FileError("--window says which cycles go into waveforms; name their file with --waves FILE")
    if arguments.waves:
        if arguments.device != "rtl":
            raise FileError(f"--waves needs the chip's own signals, which device {arguments.device!r} does not have; "
                            "leave out --device, or give --device rtl")
        check_writable(arguments.waves)
    started = time.monotonic()
    model, compiled = _compile(console, arguments.config)
    count = min(arguments.images, len(model.labels))
    if count < arguments.images:
        console.print(f"note: {count} labelled images ship with the network, {arguments.images} were asked for")
    console.print(chip_facts(compiled.config, arguments.device))
    console.print(network_facts(compiled))
    with ExitStack() as stack:
        upload = stack.enter_context(Upload(project_place(arguments.store)))
        device = stack.enter_context(opened(console, arguments.device, compiled.config, **_wave_options(arguments)))
        if arguments.device == "golden":
            session = stack.enter_context(Session(compiled, device))
        else:
            golden = stack.enter_context(opened(console, "golden", compiled.config))
            session = stack.enter_context(ComparingSession(compiled, device, golden))
        log = upload.log(model=compiled.name, model_hash=compiled.source_hash, program_hash=program_hash(compiled),
                         config_hash=compiled.config_hash, device=arguments.device)
        tally = _run_images(console, session, model, compiled, count, log)
        tally.simulated_hz = getattr(device, "simulated_hz", 0.0)
        with working(console, "uploading"):
            upload.finish(log)
    _show(console, arguments, tally, upload, time.monotonic() - started)
    return 0 if tally.identical == tally.images else EXIT_DIFFERENT


def _compile(console: Console, config: str):
    from .. import models
    from ..compiler import compile_graph
    with working(console, f"compiling {MODEL} for {config}"):
        model = models.load(MODEL)
        return model, compile_graph(model.graph(), PRESETS[config])


def _wave_options(arguments: Namespace) -> dict:
    if not arguments.waves:
        return {}
    return {"waves": arguments.waves, "wave_window": arguments.window or (0, 20_000)}


def _run_images(console: Console, session, model, compiled, count: int, log) -> Tally:
    tally, output = Tally(), compiled.outputs[0].name
    comparing = isinstance(session, ComparingSession)
    if not console.is_terminal:
        console.print(f"running {count} images")
    with progress(console) as bar:
        task = bar.add_task("images", total=count, note="")
        for i in range(count):
            compared = session.run(model.inputs[i:i + 1])
            result = compared.result if comparing else compared
            found = list(compared.differences) if comparing else []
            tally.bytes_compared += compared.bytes_compared if comparing else 0
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


def _show(console: Console, arguments: Namespace, tally: Tally, upload: Upload, seconds: float) -> None:
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
    lines += speed_facts(report)
    if report.timed:
        cycles = {r.cycles for r in tally.reports}
        if len(cycles) > 1:
            lines.append(("", f"between {grouped(min(cycles))} and {grouped(max(cycles))} cycles over all images"))
        lines.append(("simulation", f"{scaled(tally.simulated_hz or tally.cycles / tally.seconds)} cycles a second; "
                                    f"{grouped(tally.cycles)} cycles and what Python does took {tally.seconds:.1f} s"))
    lines.append(("uploaded" if upload.complete else "spooled", upload.summary))
    if arguments.waves:
        lines.append(("waveforms", arguments.waves))
    lines.append(("took", f"{seconds:.1f} s"))
    console.print(facts(lines))
