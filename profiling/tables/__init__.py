"""Shops as tables: the contract, reading and writing them whole, and everything a folder breaks."""
