"""What the commands do. Loaded only when a command runs, since it loads the Temporal SDK."""
