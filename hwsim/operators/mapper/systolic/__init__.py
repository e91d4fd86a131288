"""Mappers of class systolic: programs of a core with a few arrays, one file a kind of operator."""
