"""The reading side: history to records, records to moments, one feed for all subscribers."""
