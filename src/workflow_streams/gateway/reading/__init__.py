"""GET and HEAD: where a read begins, what there is to read, and how much fits into one answer."""
