"""The cores again in plain Python, tick by tick or event by event; they decide who is right."""
