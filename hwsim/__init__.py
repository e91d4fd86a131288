"""Cycle-level simulation of LLM inference on described AI accelerators."""

__version__ = "0.1.0"
