"""Smaller encoders made from one, and what they lose."""
