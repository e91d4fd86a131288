"""Comparison with measured hardware and with other simulators."""
