"""The durability campaign: `make campaign`.

    python -m tests.campaign [--kills 200] [--power 1500] [--faults 20] [--only KIND] [--file build/campaign.json]

Rounds of three kinds (`chain`, `power`, `faults`) are run until each goal is reached. What was done is in the file,
and a later call continues. The exit status is 1 if a record was lost, or stored twice, or a check has failed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.campaign import chain, faults, power
from tests.campaign.ledger import Round, load, report, save


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="the durability campaign")
    parser.add_argument("--kills", type=int, default=200, help="of processes (default: 200)")
    parser.add_argument("--power", type=int, default=1500, help="simulated losses of power (default: 1500)")
    parser.add_argument("--faults", type=int, default=20, help="rounds of full disks, jumping clocks and lies")
    parser.add_argument("--only", choices=("chain", "power", "faults"), help="rounds of this kind only")
    parser.add_argument("--file", type=Path, default=Path("build/campaign.json"))
    arguments = parser.parse_args()
    kinds: dict[str, tuple[Callable[[Path, int], Round], int]] = {
        "power": (power.run, -(-arguments.power // power.LOSSES)),
        "faults": (faults.run, arguments.faults),
        "chain": (chain.run, -(-arguments.kills // chain.KILLS))}
    rounds = load(arguments.file)
    for kind, (run, goal) in kinds.items():
        while arguments.only in (None, kind) and (done := sum(one.kind == kind for one in rounds)) < goal:
            started = time.monotonic()
            rounds.append(_one(kind, run, seed=1000 + done))
            save(arguments.file, rounds)
            print(f"{kind} {done + 1} of {goal}: {'good' if rounds[-1].good else 'FAILED'}, "
                  f"{rounds[-1].records} records, {time.monotonic() - started:.0f} s", flush=True)
    print(report(rounds))
    return 0 if all(one.good for one in rounds) else 1


def _one(kind: str, run: Callable[[Path, int], Round], seed: int) -> Round:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory(prefix="lepton-campaign-") as folder:
        try:
            found = run(Path(folder), seed)
        except Exception:
            found = Round(kind, seed, error=traceback.format_exc())
    found.commit = commit.stdout.strip() or "unknown"
    return found


if __name__ == "__main__":
    sys.exit(main())
