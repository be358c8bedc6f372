"""The arithmetic of the frameworks' kernels, each formula once: fixed point, rounding, scales."""
