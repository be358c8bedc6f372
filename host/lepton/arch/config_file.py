"""Your own chip: a TOML file with the parameters of `ChipConfig`.

    base = "small"        # a preset: the values of parameters that are not given
    scratchpad_kib = 128
    controller = true
"""

import difflib
import json
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from .config import PRESETS, ChipConfig, ConfigError

SUFFIX = ".toml"
_BASE = "base"
_KINDS: dict[object, str] = {int: "an integer", bool: "true or false", str: "a text in quotes"}


def config_from(text: str) -> ChipConfig:
    """The chip that a preset's name or the path of a TOML file says. Raises `ConfigError`."""
    if text in PRESETS:
        return PRESETS[text]
    if text.endswith(SUFFIX):
        return load_config(Path(text))
    raise ConfigError(f"must be {', '.join(PRESETS)} or a file NAME{SUFFIX}, not {text!r}")


def load_config(path: Path) -> ChipConfig:
    """The chip of a TOML file. Raises `ConfigError` for a file that cannot be read, and for unknown, missing, wrong or
    impossible values."""
    import tomllib  # only for those who have such a file

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    try:
        return _config(values, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def config_text(config: ChipConfig) -> str:
    """The TOML file that `load_config` makes the same chip of."""
    values = asdict(config)
    # A JSON text, number or truth value is one of TOML as well.
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _config(values: dict[str, Any], name: str) -> ChipConfig:
    parameters = {field.name: field for field in fields(ChipConfig)}
    for key, value in values.items():
        if key != _BASE:
            _check(key, value, parameters)
    given = {"name": name} | {key: value for key, value in values.items() if key != _BASE}
    if _BASE in values:
        base = values[_BASE]
        if not isinstance(base, str) or base not in PRESETS:
            raise ConfigError(f"base must be one of {', '.join(PRESETS)}, not {base!r}")
        return PRESETS[base].with_(**given)
    missing = [key for key, field in parameters.items() if field.default is MISSING and key not in given]
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given, or a preset that has them, like base = \"small\"")
    return ChipConfig(**given)


def _check(key: str, value: object, parameters: dict[str, "Field[Any]"]) -> None:
    """Raises `ConfigError` for a key that is no parameter, or a value of another type."""
    if key not in parameters:
        close = difflib.get_close_matches(key, [*parameters, _BASE], 1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown parameter {key!r}{meant} The parameters are {', '.join(parameters)}, and base")
    wanted = parameters[key].type
    if type(value) is not wanted:  # a bool is an int too
        raise ConfigError(f"{key} must be {_KINDS[wanted]}, not {value!r}")
