"""The log, pure: its messages, what becomes of each of them, and who published it."""
