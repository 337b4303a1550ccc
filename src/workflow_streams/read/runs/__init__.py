"""The runs of a stream, one after the other: each read, and what comes between two of them."""
