"""Small trained classifiers over an encoder, calibrated, that may abstain."""
