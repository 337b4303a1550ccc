"""What a request proves its permission with: bearer tokens, signed URLs, and their keys."""
