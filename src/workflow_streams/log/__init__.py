"""The log, pure: records, batches, what becomes of each, and who published it."""
