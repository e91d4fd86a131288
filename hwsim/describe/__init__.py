"""Descriptions: YAML files read into frozen objects, every fault named by file, line and column."""
