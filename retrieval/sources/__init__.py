"""Sources: what scores the whole catalogue for a request beside blocks and words."""
