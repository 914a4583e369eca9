"""The demo: a real shop in, a story out."""
