"""Text in, unit vectors out: checkpoints, networks of the BERT family, static and hashed encoders, one protocol."""
