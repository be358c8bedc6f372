"""Lepton: an open AI chip with its compiler, driver and cloud."""

__version__ = "0.1.0"
