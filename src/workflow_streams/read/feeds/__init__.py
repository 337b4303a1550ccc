"""One reader per stream in each process, shared by everything that follows the stream."""
