"""Event streams (server-sent events): of one stream, or of several over one connection."""
