"""The arguments of all commands, and errors as one line."""

import argparse
import importlib
import sys

from .. import __version__
from ..arch import PRESETS, ChipConfig, ConfigError
from ..arch.config_file import config_from
from ..arch.memory import MEMORIES
from . import chip_arguments, cloud_arguments, results_arguments, toolkit_arguments
from .status import EXIT_INTERRUPTED, EXIT_USER_ERROR

DEVICES = ("rtl", "golden")
_OURS = ("lepton", "lepton_sim", "lepton_hdl")
_CHIP_HELP = f"the chip: {', '.join(PRESETS)}, or a TOML file of your own"
_FILE_CONFIG_HELP = f"{_CHIP_HELP} (default: that of the file, or base)"
_CONFIG_HELP = f"{_CHIP_HELP} (default: %(default)s)"
_DEVICE_HELP = "simulated board (rtl) or golden model (golden) (default: %(default)s)"


def _config(text: str) -> ChipConfig:
    try:
        return config_from(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _window(text: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be two cycles as FIRST:LAST, not {text!r}") from None
    if not 0 <= first < last:
        raise argparse.ArgumentTypeError(f"the first cycle must be before the last, not {text!r}")
    return first, last


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, extents = text.rpartition("=")
    try:
        shape = tuple(int(extent) for extent in extents.split(","))
    except ValueError:
        shape = ()
    if not (name and equals and shape and min(shape) > 0):
        raise argparse.ArgumentTypeError(f"must be NAME=1,3,224,224 with numbers of at least 1, not {text!r}")
    return name, shape


def _state(text: str) -> tuple[str, str]:
    read, equals, written = text.partition("=")
    if not (read and equals and written):
        raise argparse.ArgumentTypeError(f"must be an input and an output, as PAST=PRESENT, not {text!r}")
    return read, written


def _add_quantization(parser: argparse.ArgumentParser, types: bool = True) -> None:
    """What a network's file may need to be compiled."""
    parser.add_argument("--calibration", metavar="X.npy", help="typical inputs, to quantize a float network; a .npz "
                        "file for a network with several inputs")
    parser.add_argument("--shape", type=_shape, action="append", default=[], metavar="NAME=1,3,224,224",
                        help="shape of an input that an ONNX network leaves open; may be repeated")
    parser.add_argument("--state", type=_state, action="append", default=[], metavar="PAST=PRESENT",
                        help="an input that becomes this output from one inference to the next, as a decoder's cache; "
                        "may be repeated")
    for what in ("input", "output") if types else ():
        parser.add_argument(f"--{what}-type", choices=("float32", "int8", "uint8"),
                            help=f"type of the {what}s; 8-bit ones spare the host the conversion from and to real "
                            "numbers (default: as the network has it)")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", choices=("full", "top5", "hash"), default="full",
                        help="what is uploaded of the outputs: all values (of results up to 1 MiB, of larger ones the "
                        "five largest values), the five largest values, or a digest (default: %(default)s)")


def _add_eval(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    evaluation = commands.add_parser("eval", help="measure a classifier's accuracy: float, int8, and on the chip")
    evaluation.add_argument("network", metavar="NETWORK", help="a .tflite, .onnx or .pt2 file, or a .lepton file")
    evaluation.add_argument("--input", required=True, metavar="X.npy", help="inputs along the first axis")
    evaluation.add_argument("--labels", required=True, metavar="Y.npy", help="the class of each input, from 0")
    evaluation.add_argument("--config", type=_config, metavar="CHIP", help=_FILE_CONFIG_HELP)
    evaluation.add_argument("--device", choices=DEVICES, default="golden", help=_DEVICE_HELP)
    evaluation.add_argument("--json", action="store_true", help="print the figures as JSON")
    _add_quantization(evaluation, types=False)


def _add_models(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    models = commands.add_parser("models", help="networks that ship with Lepton: list them, take one, run one")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="their names, with task, size and accuracy")
    info = actions.add_parser("info", help="one network's card: task, figures, data and licence")
    for action in (listing, info):
        action.add_argument("--json", action="store_true", help="print the cards as JSON")
    get = actions.add_parser("get", help="write a network's file")
    get.add_argument("-o", "--output", metavar="FILE", help="default: the file's own name, like mnist.tflite")
    run_model = actions.add_parser("run", help="run a network on its labelled samples")
    run_model.add_argument("--config", type=_config, default="base", metavar="CHIP", help=_CONFIG_HELP)
    run_model.add_argument("--device", choices=DEVICES, default="golden", help=_DEVICE_HELP)
    run_model.add_argument("--images", type=_count, default=100, metavar="N",
                           help="number of samples, at most those that ship (default: %(default)s)")
    for action in (info, get, run_model):
        action.add_argument("name", metavar="NAME", help="as lepton models list names it")


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bench = commands.add_parser("bench", help="measure networks and single layers, and compare with their goals")
    bench.add_argument("names", nargs="*", metavar="NAME", help="rows to measure (default: all), like resnet50, "
                       "gemm_64x64x64, conv_3x3_16x16x32_32, or controller (its costs)")
    bench.add_argument("--quick", action="store_true", help="only single layers and MLPerf Tiny")
    bench.add_argument("--config", type=_config, default="base", metavar="CHIP", help=_CONFIG_HELP)
    bench.add_argument("--memory", choices=MEMORIES, default="default", help="memory profile (default: %(default)s)")
    bench.add_argument("--output", metavar="FOLDER", default="build",
                       help="folder for bench.json, bench_layers.json and bench.svg (default: %(default)s)")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="lepton", description="An open AI chip: compile networks, run them, "
                                     "and see what the chip does in each cycle.",
                                     epilog="exit status: 0 done; 1 results differ or a test failed; 2 a mistake in "
                                     "the arguments or files, or something is missing; 130 interrupted")
    parser.add_argument("--version", action="version", version=f"lepton {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sim = commands.add_parser("sim", help="run the example network on the chip and check every byte")
    sim.add_argument("--config", type=_config, default="base", metavar="CHIP", help=_CONFIG_HELP)
    sim.add_argument("--images", type=_count, default=64, metavar="N",
                     help="number of labelled images (default: %(default)s)")
    sim.add_argument("--device", choices=DEVICES, default="rtl", help=_DEVICE_HELP)
    sim.add_argument("--waves", metavar="FILE", help="write waveforms (FST) of the cycles in --window")
    sim.add_argument("--window", type=_window, metavar="A:B", help="cycles to record in --waves (default: 0:20000)")
    sim.add_argument("--store", metavar="URL", help="upload results to this folder, store (s3://...) or ingest service "
                     "(https://...) (default: build/results)")
    _add_results(sim)

    compile_ = commands.add_parser("compile", help="compile a network from TFLite, ONNX or PyTorch for the chip")
    compile_.add_argument("network", metavar="NETWORK", help="a .tflite, .onnx or .pt2 file")
    compile_.add_argument("-o", "--output", metavar="FILE.lepton", help="default: the network's name with .lepton")
    compile_.add_argument("--config", type=_config, default="base", metavar="CHIP", help=_CONFIG_HELP)
    compile_.add_argument("--memory", choices=MEMORIES, default="default",
                          help="memory profile that cycles are predicted for (default: %(default)s)")
    _add_quantization(compile_)
    compile_.add_argument("--explain", action="store_true",
                          help="show each layer's tile, predicted cycles, and what limits them")
    compile_.add_argument("--print-ir", action="store_true", help="print the graph that the front end has made")
    compile_.add_argument("--print-after", metavar="PASS", action="append", default=[],
                          help="print the graph after this pass of front end or compiler, or after each one (all)")

    run = commands.add_parser("run", help="run a compiled network on arrays")
    run.add_argument("model", metavar="FILE.lepton", help="a file that `lepton compile` has written")
    run.add_argument("--input", required=True, metavar="X.npy",
                     help="an array of the input's shape and type, or several along its first axis; a .npz file for a "
                     "network with several inputs")
    run.add_argument("--output", metavar="Y.npz", help="write the outputs to this file, by name")
    run.add_argument("--device", choices=DEVICES, default="rtl", help=_DEVICE_HELP)
    run.add_argument("--upload", nargs="?", const="", metavar="URL",
                     help="upload the results to a folder, store (s3://...) or ingest service (https://...); without "
                     "URL to lepton/ in the user's data folder")
    _add_results(run)

    profile = commands.add_parser("profile", help="show the cycles of each layer, and what the chip waited for")
    profile.add_argument("network", metavar="NETWORK", help="a .tflite, .onnx or .pt2 file, or a .lepton file")
    _add_quantization(profile)
    profile.add_argument("--config", type=_config, metavar="CHIP", help=_FILE_CONFIG_HELP)
    profile.add_argument("--memory", choices=MEMORIES, default="default", help="memory profile (default: %(default)s)")
    profile.add_argument("--input", metavar="X.npy", help="the input (default: random values)")
    profile.add_argument("--trace", metavar="FILE.json", help="write a timeline for Perfetto (ui.perfetto.dev)")

    report = commands.add_parser("report", help="write one inference as a web page: timeline, roofline, layers, memory")
    report.add_argument("network", metavar="NETWORK", help="a .tflite, .onnx or .pt2 file, or a .lepton file")
    report.add_argument("-o", "--output", metavar="FILE.html", help="default: the network's name with .html")
    report.add_argument("--json", metavar="FILE.json", help="write the page's data to this file")
    report.add_argument("--compare", metavar="FILE.json", help="show another report's data, of --json, next to these")
    report.add_argument("--evaluation", metavar="FILE.json",
                        help="show the accuracy and the noise of each layer that lepton eval --json printed")
    report.add_argument("--config", type=_config, metavar="CHIP", help=_FILE_CONFIG_HELP)
    report.add_argument("--device", choices=DEVICES, default="rtl", help=_DEVICE_HELP)
    report.add_argument("--memory", choices=MEMORIES, default="default", help="memory profile (default: %(default)s)")
    report.add_argument("--input", metavar="X.npy", help="the input (default: random values)")
    _add_quantization(report)

    _add_eval(commands)
    _add_models(commands)
    _add_bench(commands)
    toolkit_arguments.add_parsers(commands, _config, _CONFIG_HELP, _count)
    chip_arguments.add_parser(commands, _config, _CONFIG_HELP)
    cloud_arguments.add_parser(commands)
    results_arguments.add_parser(commands)
    log = commands.add_parser("log", help="boot the chip's controller and show its event log")
    log.add_argument("network", metavar="NETWORK", nargs="?",
                     help="run this network through the controller; a quantized network, or a .lepton file")
    log.add_argument("--config", type=_config, metavar="CHIP", help=_FILE_CONFIG_HELP)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        return importlib.import_module(f".{arguments.command}", __package__).run(arguments)
    except KeyboardInterrupt:
        print("\nlepton: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of the output has ended, as with `| head`
        sys.stderr.close()
        return EXIT_INTERRUPTED
    except Exception as error:
        if arguments.debug or not _for_the_user(error):
            raise
        print(f"lepton: {_one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR


def _for_the_user(error: Exception) -> bool:
    """Whether the message is enough: for errors of Lepton's own classes, of the file system, and of missing packages.

    Any other error is a bug in Lepton, and its traceback is shown.
    """
    ours = type(error).__module__.partition(".")[0] in _OURS
    return ours or isinstance(error, (OSError, ModuleNotFoundError, MemoryError))


def _one_line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in _OURS:
        return (f"the package {error.name!r} is missing; install it with: "
                "pip install 'lepton-chip[cli,cloud,service,tflite,toolkit,sim,chip,report]'")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
