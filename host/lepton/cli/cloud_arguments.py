"""Arguments of `lepton cloud`. `main` imports this file, so it must not import packages of an extra."""

from argparse import ArgumentParser, _SubParsersAction

from . import results_arguments, service


def add_parser(commands: "_SubParsersAction[ArgumentParser]") -> None:
    """`lepton cloud` and its actions."""
    cloud = commands.add_parser("cloud", help="stored results, stores, and the ingest service")
    actions = cloud.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="show how many results are spooled, stored, refused and lost")
    status.add_argument("--spool", metavar="FILE", help="default: build/spool.db, and those in the user's data folder")
    status.add_argument("--watch", action="store_true", help="update the display until interrupted")
    status.add_argument("--metrics", action="store_true", help="print the state in Prometheus' text format")
    verify = actions.add_parser("verify", help="check stored results: signatures, digests, gaps, counts")
    verify.add_argument("store", nargs="?", metavar="STORE",
                        help="folder, s3://... or https://... of an ingest service (default: build, or the user's "
                        "data folder)")
    verify.add_argument("--run", metavar="RUN", help="only this run")
    verify.add_argument("--device", metavar="NAME", help="only this device")
    verify.add_argument("--json", action="store_true", help="print the report as JSON")
    verify.add_argument("--known", metavar="FILE", help="what earlier checks have found: a store that was set back to "
                        "an older state is noticed; the file is updated if everything is right")
    results_arguments.add_keys(verify)
    up = actions.add_parser("up", help="start an S3 server (SeaweedFS) on this machine")
    up.add_argument("--folder", metavar="FOLDER",
                    help="its data and credentials (default: server/ in the user's data folder)")
    down = actions.add_parser("down", help="stop the server of `cloud up`; its data are kept")
    down.add_argument("--folder", metavar="FOLDER", help="as for `cloud up`")
    salvage = actions.add_parser("salvage", help="recover the records of a damaged spool into a new one")
    salvage.add_argument("--spool", metavar="FILE", required=True, help="the damaged spool; its files are kept")
    salvage.add_argument("--device", metavar="NAME", help="the device's name, if the spool no longer has it")
    drain = actions.add_parser("drain", help="send what a spool has, without running a network")
    drain.add_argument("target", nargs="?", metavar="URL",
                       help="folder, store (s3://...) or ingest service (https://...) (default: that of the last "
                       "upload)")
    drain.add_argument("--spool", metavar="FILE", help="default: build/spool.db, or that in the user's data folder")
    drain.add_argument("--keys", metavar="FOLDER", help="the device's keys (default: keys/ in the user's data folder)")
    drain.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS",
                       help="how long to try (default: %(default)g)")
    accept = actions.add_parser("accept", help="use a store that replaces another one at the same place")
    accept.add_argument("store", metavar="STORE", help="folder or URL of the store")
    accept.add_argument("--spool", metavar="FILE", help="default: the spool that has used the store")
    accept.add_argument("--home", metavar="FOLDER", help="for the store of an ingest service: the service's folder")
    accept.add_argument("--database", metavar="WHERE", help="for an ingest service: its database, as for `cloud serve`")
    service.add_actions(actions)
