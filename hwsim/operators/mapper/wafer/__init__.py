"""Mappers of class wafer: programs of a square region of cores, one file a family of operators."""
