"""The workflows that are measured: one per side, the same but for what they import."""
