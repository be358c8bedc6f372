"""TFLite files whose structure is damaged: fields, lists and tables changed as objects; the files still parse."""

from collections.abc import Iterator

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

WHOLE = (0, 1, -1, 2, 3, 7, 127, 128, -128, 255, 65536, 1 << 20, (1 << 31) - 1, -(1 << 31))
REAL = (0.0, -1.0, np.nan, np.inf, -np.inf, 1e-38, 1e38, 1e-45, 0.5)
TEXTS = (b"", b"\xff\xfe", b"a" * 300, b"input")
_LISTED = 200  # elements of a list that are looked into


def damaged(data: bytes, rng: np.random.Generator) -> bytes | None:
    """The file with one to three changes; None where it cannot be written any more."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    places = list(_places(tree))
    for _ in range(int(rng.integers(1, 4))):
        owner, key = places[int(rng.integers(len(places)))]
        if isinstance(owner, list):
            _change_list(owner, rng)
        else:
            setattr(owner, key, _changed(getattr(owner, key), rng))
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(tree.Pack(builder), b"TFL3")
    except Exception:  # a number that its field cannot hold, or a field of another kind
        return None
    return bytes(builder.Output())


def _places(value: object) -> Iterator[tuple[object, str]]:
    """Every list, and every field that is not one of the schema's tables."""
    if isinstance(value, list):
        yield value, ""
        for element in value[:_LISTED]:
            yield from _places(element)
    elif hasattr(value, "__dict__"):
        for key, field in vars(value).items():
            if isinstance(field, list) or hasattr(field, "__dict__"):
                yield from _places(field)
            else:
                yield value, key


def _change_list(values: list, rng: np.random.Generator) -> None:
    if not values:
        return
    first, second = (int(place) for place in rng.integers(len(values), size=2))
    kind = rng.integers(3)
    if kind == 0:
        del values[first]
    elif kind == 1:
        values.insert(first, values[second])
    else:
        values[first], values[second] = values[second], values[first]


def _changed(value, rng: np.random.Generator):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(rng.choice(WHOLE)) if rng.random() < 0.7 else value + int(rng.integers(-2, 3))
    if isinstance(value, float):
        return float(rng.choice(REAL))
    if isinstance(value, bytes):
        return TEXTS[int(rng.integers(len(TEXTS)))]
    if not isinstance(value, np.ndarray) or not value.size:
        return value
    kind = rng.random()
    if kind < 0.6:
        made = value.copy()
        number = rng.choice(REAL) if made.dtype.kind == "f" else rng.choice(np.array(WHOLE, np.int64))
        with np.errstate(all="ignore"):
            made[int(rng.integers(made.size))] = np.asarray(number).astype(made.dtype)
        return made
    return value[:int(rng.integers(value.size))] if kind < 0.8 else np.concatenate([value, value[:1]])
