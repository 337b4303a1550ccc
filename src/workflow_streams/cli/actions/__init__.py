"""What the commands do. Loaded when one runs, since it loads the Temporal SDK."""
