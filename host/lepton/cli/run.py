"""`lepton run`: runs a compiled network on arrays from files."""

from argparse import Namespace
from contextlib import ExitStack

from ..program import CompiledModel
from ..runtime import Result, Session
from ..runtime.costs import measured
from ..upload import Upload, user_place
from .console import facts, grouped, make_console, progress
from .devices import opened
from .files import FileError, check_writable, is_network, read_inputs, write_outputs
from .host_work import host_work_table, operators, typical
from .status import EXIT_DIFFERENT
from .tables import chip_facts, layer_table, network_facts


def run(arguments: Namespace) -> int:
    console = make_console()
    if is_network(arguments.model):
        raise FileError(f"{arguments.model}: is not compiled; compile it with: lepton compile {arguments.model}")
    model = CompiledModel.load(arguments.model)
    if arguments.output:
        check_writable(arguments.output)  # now, so that no work is lost
    batch = read_inputs(arguments.input, model.inputs)
    console.print(chip_facts(model.config, arguments.device))
    console.print(network_facts(model))
    results: list[Result] = []
    upload: Upload | None = None
    with ExitStack() as stack:
        log = None
        if arguments.upload is not None:
            upload = stack.enter_context(Upload(user_place(arguments.upload or None)))
            log = upload.log(model, arguments.device, arguments.results)
        device = stack.enter_context(opened(console, arguments.device, model.config))
        session = stack.enter_context(Session(model, device))
        with progress(console) as bar:
            task = bar.add_task("inputs", total=len(batch), note="")
            for i, values in enumerate(batch):
                results.append(session.run(values, progress=lambda step, cycles: bar.update(
                    task, note=f"{step}: {grouped(cycles)} cycles")))
                if log:
                    log.add(results[-1].outputs, cycles=results[-1].report.cycles, input=i)
                bar.advance(task)
        if arguments.output:
            write_outputs(arguments.output, [r.outputs for r in results])
        if upload and log:
            upload.finish(log)
    console.print()
    report = results[0].report
    host = typical([r.report for r in results], measured(model))
    console.print(layer_table(report))
    summary = report.facts(host)
    if operators(host):
        console.print()
        console.print(host_work_table(host))
        console.print()
    if arguments.output:
        summary.append(("written", f"{arguments.output}, outputs of {len(results)} input{'s' * (len(results) > 1)}"))
    if upload:
        summary.append(("uploaded" if upload.complete else "spooled", upload.summary))
    console.print(facts(summary))
    return EXIT_DIFFERENT if upload and upload.failed else 0
