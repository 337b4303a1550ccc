"""The workflows of the samples; each hosts one stream."""
