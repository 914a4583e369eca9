"""A catalogue that changes under a running engine."""
