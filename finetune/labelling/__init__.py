"""Fewer labels: which queries to judge next, and judgements by a teacher."""
