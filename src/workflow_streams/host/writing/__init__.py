"""What workflow code writes to its stream: as records in the history, if there is room for it."""
