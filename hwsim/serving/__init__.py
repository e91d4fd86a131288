"""Storey 3: requests over time on a deployment."""
