"""Reads the event history of one run, whatever becomes of the connection."""
