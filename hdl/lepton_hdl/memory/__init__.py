"""The on-chip memories: the banked scratchpad and the weight memory."""
