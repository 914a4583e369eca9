"""Search by words: fields with weights, spelling, sizes and units; plain BM25; neighbours by words."""

from .bm25 import Bm25Config, Bm25Model, fit_bm25, index_words, texts_of, words
from .fielded import LexicalConfig, LexicalModel, fit_lexical
from .spelling import Spelling, fit_spelling
from .word_neighbours import TextNeighboursConfig, fit_text_neighbours, similar_rows

__all__ = [
    "Bm25Config",
    "Bm25Model",
    "LexicalConfig",
    "LexicalModel",
    "Spelling",
    "TextNeighboursConfig",
    "fit_bm25",
    "fit_lexical",
    "fit_spelling",
    "fit_text_neighbours",
    "index_words",
    "similar_rows",
    "texts_of",
    "words",
]
