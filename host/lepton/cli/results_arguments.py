"""Arguments of `lepton results`. `main` imports this file, so it must not import packages of an extra."""

import re
from argparse import ArgumentParser, ArgumentTypeError, _SubParsersAction


def add_parser(commands: "_SubParsersAction[ArgumentParser]") -> None:
    """`lepton results` and its actions."""
    results = commands.add_parser("results", help="list, show, query and export stored results; keys to read them")
    actions = results.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the runs in a store")
    _add_selection(listing)
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="show the results of a store or run as a table")
    _add_selection(show)
    show.add_argument("--limit", type=int, default=20, metavar="N", help="number of results (default: %(default)s)")
    query = actions.add_parser("query", help="answer a question in SQL about the table `results`")
    query.add_argument("sql", metavar="SQL", help="like: SELECT fields.label, count(*) FROM results GROUP BY ALL")
    _add_selection(query)
    query.add_argument("--output", metavar="FILE", help="write the answer to a .csv or .parquet file")
    export = actions.add_parser("export", help="write results to a Parquet or CSV file")
    export.add_argument("output", metavar="FILE", help="a .parquet or .csv file")
    _add_selection(export)
    grant = actions.add_parser("grant", help="let a further recipient read stored results, without writing them again")
    grant.add_argument("output", metavar="FILE", help="the file of grants, which the recipient gives with --keys FILE")
    grant.add_argument("--to", metavar="FILE.pem", required=True, help="the recipient's public key")
    _add_selection(grant)
    keys = actions.add_parser("keys", help="show and change who signs and who can read a device's results")
    keys.add_argument("folder", nargs="?", metavar="FOLDER",
                      help="the device's keys (default: keys/ in the user's data folder)")
    change = keys.add_mutually_exclusive_group()
    change.add_argument("--add-recipient", metavar="FILE.pem", help="encrypt new results for this public key too")
    change.add_argument("--remove-recipient", metavar="ID", help="encrypt new results no longer for this key")
    change.add_argument("--rotate-signing", action="store_true", help="sign with a new key from now on")
    change.add_argument("--make-reader", metavar="FILE.pem",
                        help="make a key pair to read with: a private key in FILE.pem, a public one in FILE.pub.pem")
    change.add_argument("--signers", metavar="FILE.pem", help="write the public signing keys, to verify with")
    keys.add_argument("--service", metavar="URL", help="with --rotate-signing: the ingest service to register it with")


def add_keys(parser: ArgumentParser) -> None:
    """The option `--keys` of commands that read or verify."""
    parser.add_argument("--keys", metavar="PATH", action="append", default=[],
                        help="a PEM file with a private key to read with, with public signing keys or an authority's "
                        "certificate to trust, a file of grants, or a device's folder of keys; may be repeated "
                        "(default: keys/ in the user's data folder)")
    parser.add_argument("--credentials", metavar="FOLDER", help="for an ingest service: a reader's certificate from "
                        "`lepton cloud enroll --keys FOLDER` (default: keys/ in the user's data folder)")


def _add_selection(parser: ArgumentParser) -> None:
    parser.add_argument("--store", metavar="STORE", help="folder, s3://... or https://... of an ingest service "
                        "(default: build, or the user's data folder)")
    parser.add_argument("--run", metavar="RUN", help="only this run")
    parser.add_argument("--device", metavar="NAME", help="only this device")
    parser.add_argument("--since", type=_date, default="", metavar="DATE", help="from this date on, like 2026-11-30")
    parser.add_argument("--until", type=_date, default="", metavar="DATE", help="up to this date, inclusive")
    add_keys(parser)


def _date(text: str) -> str:
    if text and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", text):
        raise ArgumentTypeError(f"must be a date like 2026-11-30, not {text!r}")
    return text
