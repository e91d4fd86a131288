"""Requests: one file per trace format, and recipes that make synthetic traffic."""
