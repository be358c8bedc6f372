"""Records for measuring spool and uploader."""

import base64


def record(number: int) -> dict[str, object]:
    """A record like those that `ResultLog` writes for the shipped network."""
    return {"model": "mnist", "model_hash": "0" * 64, "program_hash": "1" * 64, "config_hash": "2" * 64,
            "backend": "golden", "time": 1.8e9 + number, "cycles": 14_000 + number % 7, "image": number,
            "outputs": [{"name": "classifier", "dtype": "int8", "shape": [1, 10], "scale": 1 / 256, "zero_point": -128,
                         "kept": "full", "top": [], "sha256": "",
                         "data": base64.b64encode(bytes((number * k) % 256 for k in range(10))).decode()}]}
