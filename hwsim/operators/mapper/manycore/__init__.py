"""Mappers of class manycore."""
