"""Records for measuring spool and uploader."""


def record(number: int) -> dict[str, object]:
    """A record like those that `ResultLog` writes for the shipped network."""
    return {"model": "mnist", "model_hash": "0" * 64, "program_hash": "1" * 64, "config_hash": "2" * 64,
            "backend": "golden", "time": 1.8e9 + number, "cycles": 14_000 + number % 7, "image": number,
            "outputs": [{"name": "classifier", "shape": [1, 10], "dtype": "int8", "sha256": f"{number * 7919:064x}",
                         "values": [(number * k) % 256 - 128 for k in range(10)]}]}
