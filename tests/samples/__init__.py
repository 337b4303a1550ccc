"""The samples, run as a user runs them: real processes on a real server."""
