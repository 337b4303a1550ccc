"""What goes out: items as the bytes of answers and events, offsets as tokens."""
