"""The ROWS engine: functions of all channels of a pixel (`lepton.arch.rows`)."""
