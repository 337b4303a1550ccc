"""POST, PUT and DELETE: from the bytes to the signal, and back with the verdict."""
