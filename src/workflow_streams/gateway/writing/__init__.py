"""POST, PUT and DELETE: turns bodies into batches, and verdicts into answers."""
