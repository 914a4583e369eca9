"""Training heads from a shop's labels."""
