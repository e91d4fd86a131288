"""Storey 1: what a memory tier or a link does with a stream of accesses."""
