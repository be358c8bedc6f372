"""Settings of all tests, and the seeds of this run, printed with the command that repeats them."""

import os

import pytest
from hypothesis import HealthCheck, settings
from lepton.driver import Driver

from tests.seeds import FIXED, asked, new_seed

# A test's outcome must not depend on how busy the machine is.
settings.register_profile("lepton", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lepton")

# Cycles of one job in any test: five times what the longest network here takes. A fault that stalls a job fails its
# test instead of stopping all of them.
Driver.default_cycle_limit = 10_000_000


def pytest_configure(config: pytest.Config) -> None:
    new_seed()  # before the workers start, which inherit it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors, since many tests wait for servers, boards and locks."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_report_header(config: pytest.Config) -> str:
    if asked() is not None:
        return f"seed: {asked()}, as LEPTON_SEED says"
    new = new_seed()
    return f"seeds: {FIXED} and, for this commit, {new}; repeat a test of the latter with LEPTON_SEED={new}"
