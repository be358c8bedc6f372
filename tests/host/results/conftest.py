import pytest
from lepton.results import DeviceKeys


@pytest.fixture(scope="session")
def keys():
    return DeviceKeys.generate()
