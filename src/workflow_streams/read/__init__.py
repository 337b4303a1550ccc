"""The way out: from the event history to what a subscriber iterates over."""
