import pytest
from lepton.cloud import DeviceKeys


@pytest.fixture(scope="session")
def keys():
    return DeviceKeys.generate()
