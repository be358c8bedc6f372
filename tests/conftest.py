"""Settings of all tests, and the seeds of this run, printed with the command that repeats them."""

import pytest
from hypothesis import HealthCheck, settings

from tests.seeds import FIXED, asked, new_seed

# A test's outcome must not depend on how busy the machine is.
settings.register_profile("lepton", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lepton")


def pytest_configure(config: pytest.Config) -> None:
    new_seed()  # before the workers start, which inherit it


def pytest_report_header(config: pytest.Config) -> str:
    if asked() is not None:
        return f"seed: {asked()}, as LEPTON_SEED says"
    new = new_seed()
    return f"seeds: {FIXED} and, for this commit, {new}; repeat a test of the latter with LEPTON_SEED={new}"
