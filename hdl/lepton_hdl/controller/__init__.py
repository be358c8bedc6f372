"""The controller (design D7), in chips with `ChipConfig.controller`: a RISC-V processor that serves several clients."""
