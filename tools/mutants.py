"""Plants faults one by one in a copy of the sources and runs the tests that must notice them: `make mutants`.

    python tools/mutants.py                    every fault
    python tools/mutants.py validate dma/load  those in files whose path contains one of the words
    python tools/mutants.py --list             only check that every fault can still be planted
    python tools/mutants.py --report           the known results, run nothing
    python tools/mutants.py --fresh            run also the faults whose result is known
    python tools/mutants.py --passed           as after `make test`: do not run the tests without a fault first

The faults are in tests/mutants/*.toml. A group has one `file`, the `tests` that must notice its faults (arguments of
pytest), and `mutants`, pairs of texts: the first occurs once in the file and is replaced by the second. Pairs in
`equivalent` have a third text: why no test can notice them; they are not run.

A fault is *killed* when a test fails. It *survives* when all pass, *stalls* when they do not end, and is *broken*
when the tests cannot run at all. The command fails if any is not killed, or cannot be planted because the sources
have changed. Needs the environment of `make test`.

A run can be interrupted. Results are kept in build/mutants/results.jsonl, keyed by the code of the file, the fault,
and the code of its tests with every module under tests/ that they import, but for the harness that runs them;
comments and docstrings do not count. A later run tries only the faults that have no result under their key, each first
with the test that has killed it before. Changes elsewhere (another source file, a package) do not change the key:
`--fresh` ignores the known results.
"""

import argparse
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutant_lists import ROOT, Mutant, Result, keep_result, key_of, known_killers, known_results, read_lists
from mutant_runs import Workshop


class Campaign:
    """Tries faults in parallel workshops and collects their results."""

    def __init__(self, workshops: list[Workshop], total: int) -> None:
        self._free: SimpleQueue[Workshop] = SimpleQueue()
        for workshop in workshops:
            self._free.put(workshop)
        self._total = total
        self._lock = threading.Lock()
        self._killers = known_killers()
        self.results: dict[Mutant, Result] = {}

    def note(self, mutant: Mutant, result: Result, origin: str) -> None:
        """Print and collect one result."""
        with self._lock:
            self.results[mutant] = result
            print(f"{len(self.results)}/{self._total} {result.outcome} {origin}  {mutant}  {result.text}", flush=True)

    def check_sound(self, tests: tuple[str, ...]) -> Result:
        """Run tests without a fault: one that fails then proves nothing."""
        workshop = self._free.get()
        try:
            return workshop.check(tests)
        finally:
            self._free.put(workshop)

    def try_fault(self, key: str, mutant: Mutant) -> None:
        """Plant one fault in a free workshop."""
        workshop = self._free.get()
        try:
            result = workshop.plant(mutant, self._killers.get(str(mutant), ""))
        finally:
            self._free.put(workshop)
        self.note(mutant, result, f"in {result.seconds:.0f} s")
        with self._lock:
            keep_result(key, mutant, result)


def report(mutants: list[Mutant], results: dict[Mutant, Result]) -> int:
    """Print faults by file and outcome, then each that is not killed; 1 if there is any, or one without a result."""
    killers = known_killers()
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        own = [mutant for mutant in mutants if mutant.file == file]
        killed = sum(mutant in results and results[mutant].outcome == "killed" for mutant in own)
        print(f"{killed:4} of {len(own):4} killed  {file}")
    open_faults = [mutant for mutant in mutants if mutant not in results or results[mutant].outcome != "killed"]
    print(f"{len(mutants) - len(open_faults)} of {len(mutants)} planted faults were killed")
    for mutant in open_faults:
        untried = "not tried since a change" if str(mutant) in killers else "not tried"
        print(f"{results[mutant].outcome if mutant in results else untried}: {mutant}")
    return int(bool(open_faults))


def run(mutants: list[Mutant], workers: int, fresh: bool, passed: bool) -> int:
    """Try the faults that have no result yet, group by group; the exit status."""
    with tempfile.TemporaryDirectory(prefix="lepton-mutants-") as temporary:
        workshops = [Workshop(Path(temporary) / str(number)) for number in range(workers)]
        tree = workshops[0].tree
        known = {} if fresh else known_results()
        keys = {mutant: key_of(tree, mutant) for mutant in mutants}
        campaign = Campaign(workshops, len(mutants))
        for mutant in mutants:
            if keys[mutant] in known:
                campaign.note(mutant, known[keys[mutant]], "(known)")
        waiting = [mutant for mutant in mutants if mutant not in campaign.results]
        checked: dict[tuple[str, ...], Result] = {}  # by the tests, which several files may share
        for file, tests in dict.fromkeys((mutant.file, mutant.tests) for mutant in waiting):
            nothing = Mutant(file, "", "", tests)
            key = key_of(tree, nothing)
            if passed:
                checked[tests] = Result("survives", "", 0)
            elif key in known:
                checked[tests] = known[key]
            elif tests not in checked:
                checked[tests] = campaign.check_sound(tests)
            sound = checked[tests]
            if sound.outcome != "survives":
                print(f"{' '.join(tests)} must pass without a fault, but: {sound.outcome} {sound.text}", flush=True)
                return 1
            if key not in known and not passed:
                keep_result(key, nothing, sound)
            with ThreadPoolExecutor(workers) as pool:
                own = [mutant for mutant in waiting if (mutant.file, mutant.tests) == (file, tests)]
                list(pool.map(lambda mutant: campaign.try_fault(keys[mutant], mutant), own))
    return report(mutants, campaign.results)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only faults in files whose path contains one of these")
    parser.add_argument("--list", action="store_true", help="show the faults, run nothing")
    parser.add_argument("--report", action="store_true", help="show the known results, run nothing")
    parser.add_argument("--fresh", action="store_true", help="run also the faults whose result is known")
    parser.add_argument("--passed", action="store_true", help="take it that all tests pass without a fault")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="how many at a time (default: 1)")
    arguments = parser.parse_args()
    try:
        mutants = read_lists(words=arguments.words)
    except ValueError as error:
        print(error)
        return 1
    if arguments.list:
        print(*mutants, f"{len(mutants)} faults", sep="\n")
        return 0
    if arguments.report:
        known = known_results()
        keys = {mutant: key_of(ROOT, mutant) for mutant in mutants}
        return report(mutants, {mutant: known[key] for mutant, key in keys.items() if key in known})
    return run(mutants, max(arguments.workers, 1), arguments.fresh, arguments.passed)


if __name__ == "__main__":
    sys.exit(main())
