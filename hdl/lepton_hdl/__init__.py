"""The chip, in Amaranth. Start at `lepton_hdl.chip`."""
