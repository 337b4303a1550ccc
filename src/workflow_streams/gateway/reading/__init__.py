"""GET: catch-up, long-poll and server-sent events, from the feed to the bytes."""
