"""Backends are found by name, without this package importing them."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import lepton.device
import pytest
from lepton.arch import PRESETS
from lepton.device import DeviceError


def test_the_simulator_brings_its_backends():
    assert {"golden", "rtl"} <= lepton.device.backends().keys()


@pytest.mark.parametrize("config", ["tiny", PRESETS["base"].with_(name="mine", scratchpad_kib=64)])
def test_open_by_preset_or_configuration(config):
    device = lepton.device.open("golden", config=config, memory_bytes=1 << 20)
    assert device.config == (PRESETS[config] if isinstance(config, str) else config)
    assert device.memory_bytes == 1 << 20
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.read_memory(0, 1)


def test_unknown_backend():
    with pytest.raises(DeviceError, match=r"device must be one of golden, .*rtl.*, not 'silicon'; "
                                          r"install the simulator with pip install 'lepton-chip\[sim\]'"):
        lepton.device.open("silicon")


def test_no_backend_at_all(monkeypatch):
    monkeypatch.setattr(lepton.device, "backends", dict)
    with pytest.raises(DeviceError, match="device must be one of none installed, not 'rtl'"):
        lepton.device.open("rtl")


def test_a_backend_whose_package_is_missing(monkeypatch):
    broken = EntryPoint("far", "no_such_package_of_ours.board:open", "lepton.devices")
    monkeypatch.setattr(lepton.device, "backends", lambda: {"far": broken})
    with pytest.raises(DeviceError, match=r"device 'far' needs a package that is not installed "
                                          r"\(no_such_package_of_ours\); install it with pip"):
        lepton.device.open("far")


@pytest.mark.parametrize("module", ["lepton.device", "lepton.driver", "lepton.results", "lepton.cli"])
def test_the_host_imports_neither_simulator_nor_frameworks(module):
    code = (f"import sys, {module}; "
            "found = {'amaranth', 'lepton_sim', 'lepton_hdl', 'torch', 'cocotb', 'tflite', 'ai_edge_litert'} & "
            "{name.partition('.')[0] for name in sys.modules}; print(sorted(found))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_that_a_device_does_not_have_are_named():
    with pytest.raises(DeviceError, match=r"device 'golden' has no option 'waves'; it has memory_bytes, check_races, "):
        lepton.device.open("golden", config="tiny", waves="w.fst")
