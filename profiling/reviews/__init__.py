"""What reviews say: opinions, aspects and the words they are made of."""
