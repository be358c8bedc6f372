"""The checker of ports that are two's complement."""

from collections.abc import Mapping

from tests.bench.checker import Outputs


class SignedOutputs(Outputs):
    """As `Outputs`, but every port is two's complement: a value that is not negative must have a sign bit of 0, which
    it has not in a port that is a bit too narrow."""

    def check(self, expected: Mapping[str, int], where: object = "") -> None:
        """Compare the ports named. `where` goes into the message."""
        for name, value in expected.items():
            got = self.pins.signed(name)
            assert got == value, f"{name} is {got}, not {int(value)}; {where}"
            self.compared += 1
