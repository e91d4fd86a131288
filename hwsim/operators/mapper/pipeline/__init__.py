"""Mappers of class pipeline: programs of a statically scheduled chip, one file a kind of operator."""
