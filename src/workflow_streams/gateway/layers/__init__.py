"""ASGI middleware: what happens to every request."""
