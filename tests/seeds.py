"""The seeds of random tests: one that never changes, and a new one for every commit.

The first finds again what it has found before; the second looks where no run has looked. Both are the same however
often a commit is tested, and pytest prints them. `LEPTON_SEED=n` replaces both by n: the way to repeat a failure, with
the test that failed, e.g. `LEPTON_SEED=123 .venv/bin/python -m pytest tests/system/test_fuzz.py`.
"""

import hashlib
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

FIXED = 20261
_NEW = "LEPTON_NEW_SEED"  # from pytest's first process to its workers, which must collect the same tests


def asked() -> int | None:
    """The seed that `LEPTON_SEED` asks for."""
    text = os.environ.get("LEPTON_SEED")
    return int(text) if text else None


def new_seed() -> int:
    """The seed of this commit (1..2**31): from the commit's hash, from the day (UTC) where git does not know it."""
    if _NEW not in os.environ:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
        name = done.stdout.strip() if done.returncode == 0 else datetime.now(UTC).date().isoformat()
        os.environ[_NEW] = str(1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % (1 << 31))
    return int(os.environ[_NEW])


def base_seed() -> int:
    """The seed that never changes, or the one that is asked for."""
    seed = asked()
    return FIXED if seed is None else seed


def seeds(*fixed: int) -> list[int]:
    """For `parametrize`: the `fixed` ones (default: `FIXED`) and the new one, or only the one that is asked for."""
    seed = asked()
    return [*(fixed or (FIXED,)), new_seed()] if seed is None else [seed]
