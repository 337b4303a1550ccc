"""The forks of a hosted stream, as its host counts them, and how it learns that some are gone."""
