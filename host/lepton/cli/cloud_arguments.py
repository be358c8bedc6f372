"""Arguments of `lepton cloud`. `main` imports this file, so it imports nothing that an extra installs."""

from argparse import ArgumentParser

from . import service


def add_parser(commands) -> None:
    """`lepton cloud` and its actions."""
    cloud: ArgumentParser = commands.add_parser("cloud", help="what became of the results, and where they go")
    actions = cloud.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="what is spooled, sent, refused and lost")
    status.add_argument("--spool", metavar="FILE", help="default: build/spool.db, and those in the user's data folder")
    status.add_argument("--watch", action="store_true", help="go on showing it until interrupted")
    verify = actions.add_parser("verify", help="check stored results: signatures, digests, gaps, counts")
    verify.add_argument("store", nargs="?", metavar="STORE",
                        help="folder or URL (default: build, or the user's data folder)")
    verify.add_argument("--run", metavar="RUN", help="only this run")
    verify.add_argument("--device", metavar="NAME", help="only this device")
    verify.add_argument("--keys", metavar="FOLDER", action="append",
                        help="keys of a device; once for each (default: keys/ in the store's folder, or else keys/ in "
                        "the user's data folder)")
    up = actions.add_parser("up", help="start an S3 server (SeaweedFS) on this machine")
    up.add_argument("--folder", metavar="FOLDER",
                    help="its data and credentials (default: server/ in the user's data folder)")
    down = actions.add_parser("down", help="stop it; its data stay")
    down.add_argument("--folder", metavar="FOLDER")
    salvage = actions.add_parser("salvage", help="make a sound spool of what a damaged one still holds")
    salvage.add_argument("--spool", metavar="FILE", required=True)
    accept = actions.add_parser("accept", help="send to a store that was made anew, or put in the place of another")
    accept.add_argument("store", metavar="STORE", help="folder or URL of the store")
    accept.add_argument("--spool", metavar="FILE", help="default: the one that has used the store")
    accept.add_argument("--home", metavar="FOLDER", help="of a service, where the store is that of a service")
    accept.add_argument("--database", metavar="WHERE", help="of the service, as for `cloud serve`")
    service.add_actions(actions)
