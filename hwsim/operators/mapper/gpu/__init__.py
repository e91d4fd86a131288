"""Mappers of the GPU class: tiles on SM slots, staged copies, L2 and HBM shared by all."""
