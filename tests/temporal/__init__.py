"""What the package makes of the Temporal server and SDK."""
