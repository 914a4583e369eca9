"""The second stage: candidates read more closely and ordered anew, by a ranker or by a cross-encoder."""
