"""A whole catalogue as vectors: planned, resumable, cached by content, on one machine or many."""
