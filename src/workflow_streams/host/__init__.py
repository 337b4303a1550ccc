"""The workflow's side of a stream. Runs in Temporal's sandbox, so it imports little."""
