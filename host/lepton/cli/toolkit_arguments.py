"""The arguments of `lepton doctor`, `device`, `train` and `completion`."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..arch import ChipConfig

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SHELLS = ("bash", "zsh")  # shtab knows tcsh, too, but not options of commands in it


def add_parsers(
    commands: "_SubParsersAction[ArgumentParser]",
    config: Callable[[str], ChipConfig],
    config_help: str,
    count: Callable[[str], int],
) -> None:
    """Add the commands. `config` and `count` read a chip and a number of at least 1."""
    doctor = commands.add_parser(
        "doctor", help="show what this machine has of what Lepton can use, and how to get the rest"
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")

    device = commands.add_parser("device", help="boards: list the kinds, show one's chip, test one")
    actions = device.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the kinds of boards that are installed")
    info = actions.add_parser("info", help="a board's chip, memories and registers")
    test = actions.add_parser("selftest", help="write and read memory, and run a network whose outputs are known")
    for action in (listing, info, test):
        action.add_argument("--json", action="store_true", help="print it as JSON")
    for action in (info, test):
        action.add_argument(
            "name",
            nargs="?",
            default="rtl",
            metavar="DEVICE",
            help="rtl, golden, or a board's URL like serial:///dev/ttyUSB0 (default: %(default)s)",
        )
        action.add_argument("--config", type=config, default="base", metavar="CHIP", help=config_help)

    _add_train(
        commands.add_parser("train", help="train a network on arrays, quantize it, and compile it"),
        config,
        config_help,
        count,
    )

    completion = commands.add_parser(
        "completion", help='print a script that completes commands in a shell: eval "$(lepton completion bash)"'
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")


def _add_train(
    train: ArgumentParser, config: Callable[[str], ChipConfig], config_help: str, count: Callable[[str], int]
) -> None:
    train.add_argument("--input", required=True, metavar="X.npy", help="inputs along the first axis, channels first")
    train.add_argument(
        "--labels", required=True, metavar="Y.npy", help="a class from 0 for each input, or real targets"
    )
    train.add_argument("-o", "--output", default="trained.lepton", metavar="FILE.lepton", help="default: %(default)s")
    train.add_argument(
        "--layers",
        default="conv:16:3,pool:2",
        metavar="LAYERS",
        help="conv:CHANNELS:KERNEL, pool:KERNEL and dense:OUTPUTS, separated by commas; a dense layer for "
        "the outputs follows (default: %(default)s)",
    )
    train.add_argument(
        "--pretrained", metavar="NAME", help="begin with a backbone of the toolkit, like digits-features"
    )
    train.add_argument("--epochs", type=count, default=10, metavar="N", help="default: %(default)s")
    train.add_argument("--batch-size", type=count, default=32, metavar="N", help="default: %(default)s")
    train.add_argument(
        "--optimizer", choices=("adam", "adamw", "sgd", "rmsprop"), default="adam", help="default: %(default)s"
    )
    train.add_argument("--rate", type=float, metavar="R", help="learning rate (default: the optimizer's)")
    train.add_argument("--patience", type=count, metavar="N", help="end after N epochs without improvement")
    train.add_argument("--checkpoint", metavar="FILE", help="go on from this file after an interruption")
    train.add_argument("--metrics", metavar="FILE.jsonl", help="write each epoch's figures to this file")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    train.add_argument(
        "--prune",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the channels to take out, 0 to below 1 (default: %(default)s)",
    )
    train.add_argument(
        "--quantization-aware", action="store_true", help="train on with int8 rounding, for a third of the epochs"
    )
    train.add_argument("--config", type=config, default="base", metavar="CHIP", help=config_help)
    train.add_argument(
        "--device",
        default="golden",
        metavar="DEVICE",
        help="where cycles are measured: golden counts none (default: %(default)s)",
    )
    train.add_argument("--json", action="store_true", help="print the outcome as JSON")
