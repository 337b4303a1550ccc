"""Reads what a request asks for, and checks it: path, query parameters, header fields. Pure."""
