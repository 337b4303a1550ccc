"""The way in: from publish() to signals that the server has taken, and what became of them."""
