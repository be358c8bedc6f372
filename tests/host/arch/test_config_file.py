"""Configurations in TOML files: values are taken as given, and errors name the wrong value."""

import pytest
from lepton.arch import PRESETS, ChipConfig, ConfigError
from lepton.arch.config_file import config_from, config_text

WHOLE = """
name = "mine"
lanes = 8
columns = 8
scratchpad_kib = 16
weight_kib = 8
accumulator_rows = 64
controller = true
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "chip.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)
    return write


def test_presets_by_name():
    assert all(config_from(name) is config for name, config in PRESETS.items())


def test_a_whole_chip(file):
    assert config_from(file(WHOLE)) == ChipConfig("mine", 8, 8, 16, 8, 64, controller=True)


def test_a_preset_with_changes_has_the_name_of_the_file(file):
    config = config_from(file('base = "small"\nscratchpad_kib = 128\n'))
    assert config == PRESETS["small"].with_(name="chip", scratchpad_kib=128)


@pytest.mark.parametrize(("text", "message"), [
    (WHOLE + "lane = 3\n", "unknown parameter 'lane'; did you mean 'lanes'? The parameters are name, lanes,"),
    (WHOLE + "[window]\ncolumns = 3\n", "unknown parameter 'window'"),
    (WHOLE.replace("lanes = 8", 'lanes = "8"'), "lanes must be an integer, not '8'"),
    (WHOLE.replace("lanes = 8", "lanes = 8.0"), "lanes must be an integer, not 8.0"),
    (WHOLE.replace("lanes = 8", "lanes = true"), "lanes must be an integer, not True"),
    (WHOLE.replace("controller = true", "controller = 1"), "controller must be true or false, not 1"),
    (WHOLE.replace('name = "mine"', "name = 7"), "name must be a text in quotes, not 7"),
    (WHOLE.replace("lanes = 8", "lanes = 12"), "lanes must be a power of two in 4..64, not 12"),
    (WHOLE.replace("columns = 8", "columns = 4"), "columns must equal lanes (8), not 4"),
    (WHOLE + "clock_mhz = 0\n", "clock_mhz must be an integer in 1..10000, not 0"),
    ("lanes = 8\ncolumns = 8\n", "scratchpad_kib, weight_kib, accumulator_rows must be given, or a preset that has "
                                 'them, like base = "small"'),
    ('base = "huge"\n', "base must be one of tiny, small, base, large, not 'huge'"),
    ("base = 3\n", "base must be one of tiny, small, base, large, not 3"),
    ("lanes = \n", "is not TOML: Invalid value (at line 1, column 9)"),
])
def test_what_is_wrong_is_named(file, text, message):
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        config_from(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("chip", [
    *PRESETS.values(),
    PRESETS["small"].with_(name='a "name" \\ of ü', controller=True, clock_mhz=7, clock_origin="'x'")])
def test_a_chip_survives_its_file(file, chip):
    assert config_from(file(config_text(chip))) == chip


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory"):
        config_from(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="Is a directory"):
        (tmp_path / "folder.toml").mkdir()
        config_from(str(tmp_path / "folder.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes\.toml: is not TOML: 'utf-8' codec"):
        config_from(str(tmp_path / "bytes.toml"))
    with pytest.raises(ConfigError, match=r"must be tiny, small, base, large or a file NAME\.toml, not 'huge'"):
        config_from("huge")
