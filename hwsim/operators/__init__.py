"""Storey 2: one operator on one device or group, as a program of tables that the engine runs."""
