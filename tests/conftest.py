"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# A test's outcome must not depend on how busy the machine is.
settings.register_profile("lepton", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lepton")
