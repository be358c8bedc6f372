"""A board on a serial port: `lepton.device.open("serial:///dev/ttyUSB0", config="small")`.

`frames` is the framing of the line, `link` sends requests until they are answered, `device` is the `Device`.
"""

from .device import SerialDevice, open_serial

__all__ = ["SerialDevice", "open_serial"]
