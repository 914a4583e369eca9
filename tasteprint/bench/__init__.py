"""What `tasteprint bench` times: encoders and indexes, beside their rivals."""
