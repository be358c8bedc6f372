"""Blocks of the boards."""
