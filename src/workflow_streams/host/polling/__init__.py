"""Answers to clients that poll the workflow, as those of the contrib do."""
