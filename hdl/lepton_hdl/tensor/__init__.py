"""The TENSOR engine: one straight pipeline from scratchpad to scratchpad (design D4).

    issue ► scratchpad ► align ► dot array ► accumulate ► requantize ► residual add ► scratchpad
               feeder ► weight tiles, parameters            residual ►
"""
