"""The connection to Temporal, and the streams that are looked up over it."""
