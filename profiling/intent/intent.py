"""Intent inference: what a query asks for, from its text, its vector and the catalogue, before any training.

Covers fitting to a catalogue (no clicks, no labels), inferring a batch, and a state to save. The parts are elsewhere:
`prototypes` (category), `facets` (brand, price, attributes), `stages`, `relevance` (confidence), `intent.evidence`
(specificity). Trained heads (`head`), where there are any, replace parts of it as `heads.intent` says; training them is
the finetune room's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..catalogue_words import WordIndex, fit_words, words_from_state, words_state
from ..categories import PrototypeConfig
from ..encoders.encoder import Encoder
from ..errors import ArtefactError, ConfigError
from ..heads.intent import all_paths, applied, open_heads_for
from ..heads.store import Heads
from .evidence import Seen, doubts, look, specificity
from .facets import FacetConfig, FacetModel, Facets, column, facets_from_state, fit_facets, word_texts
from .prototypes import Prototypes, fit_prototypes, prototypes_from_state, prototypes_state
from .relevance import FEATURES, SENTENCES, Relevance, fit_relevance, made_up_queries, shuffled
from .stages import StageEvidence, stage_probabilities
from .types import CategoryShare, Intent
from .units import stems

__all__ = ["CategoryShare", "Intent", "IntentConfig", "IntentModel", "fit_intent", "intent_from_state"]

_FORMAT = 1
_READ = 64
_LIKELY = 0.3  # a category must be this likely for its own prices to say what is cheap


class IntentConfig(BaseModel):
    """How intent is inferred."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_categories: int = Field(5, ge=1, le=100, description="categories named in an intent")
    prior: float = Field(0.7, gt=0, lt=1, description="share of queries that are about the catalogue, before looking")
    known_from: float = Field(0.5, ge=0, le=1, description="confidence below which an intent says it does not know")
    n_anchors: int = Field(2048, ge=16, description="items whose vectors stand for the catalogue in similarity")
    n_made_up: int = Field(600, ge=20, description="made-up queries that calibrate confidence and temperature")
    heads: tuple[str, ...] = Field((), description="folders of heads made by 'tasteprint heads', opened with the model")
    facets: FacetConfig = Field(default_factory=FacetConfig, description="brands, prices, attributes")
    prototypes: PrototypeConfig = Field(default_factory=PrototypeConfig, description="categories")


@dataclass(frozen=True, eq=False)
class IntentModel:
    """A catalogue's intent model; made by `fit_intent`.

    Attributes:
        config: as fitted
        words: inverted index of the item texts
        facets: brands, prices, attributes
        prototypes: categories
        anchors: unit vectors of a sample of items, (n_anchors, d)
        relevance: confidence
        usual: sorted coherence of made-up queries' nearest anchors, among which a query's own is ranked, (n,)
        heads: trained heads that replace parts of what is inferred; not in the state, attached by `with_heads`
    """

    config: IntentConfig
    words: WordIndex
    facets: FacetModel
    prototypes: Prototypes
    anchors: NDArray[np.float32]
    relevance: Relevance
    usual: NDArray[np.float32]
    heads: tuple[Heads, ...] = ()

    def with_heads(self, encoder: Encoder, paths: Sequence[str | Path] | None = None) -> IntentModel:
        """The model with saved heads attached; ``paths`` None = those of the configuration.

        A head trained on ``encoder`` uses it; one trained on another (an adapter, say) brings its own, which encodes
        each query once more.

        Raises:
            ArtefactError: heads are absent, damaged or do not answer as when they were saved.
            EncoderError: an encoder of theirs cannot be opened.
        """
        return replace(self, heads=open_heads_for(self.config.heads if paths is None else paths, encoder))

    def plain(self, texts: Sequence[str]) -> list[str]:
        """The texts without their price words: what is best encoded ("lamp under 50" means a lamp)."""
        return [self._parsed(text).rest for text in texts]

    def infer(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> list[Intent]:
        """The intent of each query.

        Args:
            texts: queries as typed
            vectors: unit vectors of the texts, or better of `plain` texts, by the encoder that made the item vectors;
                zeros where empty, (n, d)

        Raises:
            ConfigError: texts and vectors differ in number, or the vectors in width from the catalogue's.
        """
        vectors = np.asarray(vectors, dtype=np.float32)
        want = (len(texts), self.anchors.shape[1])
        if vectors.shape != want:
            raise ConfigError(f"vectors must be {want} for these texts and this catalogue, got {vectors.shape}")
        parsed = [self._parsed(text) for text in texts]
        seen = look([facets.rest for facets in parsed], vectors, self.words, self.prototypes, self.anchors)
        sure = self.relevance.probability(seen.features)
        found = [self._intent(text, vectors[i], parsed[i], seen, i, float(sure[i])) for i, text in enumerate(texts)]
        return self._answered(found) if self.heads else found

    def to_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays (for safetensors) and JSON-able metadata; `intent_from_state` rebuilds the same model."""
        word_arrays, vocabulary = words_state(self.words)
        facet_arrays, facet_meta = self.facets.to_state()
        category_arrays, category_meta = prototypes_state(self.prototypes)
        learned = {name: getattr(self.relevance, name) for name in ("mean", "scale", "weights")}
        groups = {"words": word_arrays, "facets": facet_arrays, "prototypes": category_arrays, "relevance": learned}
        arrays = {f"{group}.{name}": array for group, named in groups.items() for name, array in named.items()}
        arrays |= {"anchors": self.anchors, "usual": self.usual}
        meta = {
            "format": _FORMAT,
            "config": self.config.model_dump(),
            "vocabulary": vocabulary,
            "facets": facet_meta,
            "prototypes": category_meta,
            "relevance_bias": self.relevance.bias,
        }
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, meta

    @cached_property
    def _parsed(self) -> Callable[[str], Facets]:
        """The facets of a query; the latest few are remembered, as `plain` and `infer` both need them."""
        return lru_cache(maxsize=_READ)(lambda text: self.facets.parse(text, self.words))

    def _intent(
        self, text: str, vector: NDArray[np.float32], facets: Facets, seen: Seen, i: int, confidence: float
    ) -> Intent:
        """One intent from its evidence."""
        words, share = seen.words[i], seen.share[i]
        if words.n_words == 0 and not vector.any():
            return Intent(text=text, vector=vector, facets=facets)
        nearest, concentrated = float(seen.features[i, 0]), float(seen.features[i, 5])
        asked = StageEvidence(
            n_words=words.n_words,
            n_models=len(facets.models),
            n_facets=len(facets.brands) + len(facets.attributes),
            duplicate=words.duplicate,
            together=words.together,
            matches=words.matches,
            concentration=concentrated,
            confidence=confidence,
        )
        stages, signals = stage_probabilities(text, asked, self._text_share)
        coherent = float(np.searchsorted(self.usual, seen.coherence[i]) / max(len(self.usual), 1))
        known = confidence >= self.config.known_from
        top = _largest(share, self.config.top_categories)
        likely = [CategoryShare(self.prototypes.paths[c], float(share[c]) * confidence) for c in top]
        return Intent(
            text=text,
            vector=vector,
            categories=tuple(c for c in likely if c.probability > 1e-4),
            levels=tuple(CategoryShare(path, p * confidence) for path, p in self.prototypes.levels(share)),
            facets=self._priced(facets, share),
            stages=stages,
            specificity=specificity(
                words, facets, concentrated=concentrated, coherent=coherent, n_items=max(self.words.n_items, 1)
            ),
            confidence=confidence,
            known=known,
            signals=(*([] if known else doubts(words, nearest)), *signals),
        )

    def _answered(self, found: list[Intent]) -> list[Intent]:
        """Intents with what the heads say; an empty query asks them nothing."""
        asked = [i for i, intent in enumerate(found) if intent.text.strip()]
        said = [heads.answer([found[i].text for i in asked]) for heads in self.heads]
        paths = all_paths(self.prototypes.paths)
        for place, i in enumerate(asked):
            answers = tuple(answer for one in said for answer in one[place])
            found[i] = applied(found[i], answers, paths, top=self.config.top_categories)
        return found

    def _text_share(self, word: str) -> float:
        """Share of the items whose text holds a stem."""
        return self.words.frequency(word) / max(self.words.n_items, 1)

    def _priced(self, facets: Facets, share: NDArray[np.float32]) -> Facets:
        """Facets with "cheap" or "premium" turned into a bound, of the likeliest category where it has prices."""
        price = facets.price
        if price is None or price.relative is None or price.min is not None or price.max is not None:
            return facets
        levels = self.prototypes.price_levels
        row = int(np.argmax(share)) if len(share) and share.max() >= _LIKELY else -1
        low, high = levels[row] if not np.isnan(levels[row]).any() else levels[-1]
        if np.isnan(low):
            return facets
        bounded = (
            replace(price, max=round(float(low), 2))
            if price.relative == "cheap"
            else replace(price, min=round(float(high), 2))
        )
        return replace(facets, price=bounded)


def fit_intent(
    items: pd.DataFrame,
    item_vectors: NDArray[np.float32],
    config: IntentConfig | None = None,
    *,
    rng: Generator,
    encoder: Encoder | None = None,
) -> IntentModel:
    """Fit to a catalogue; no clicks and no labels are needed.

    Args:
        items: the shop's items table
        item_vectors: unit text vectors of the items, zeros where an item has no text, (n_items, d)
        config: see `IntentConfig`
        rng: draws anchors, clusters and made-up queries
        encoder: the one that made the vectors. With it confidence and temperature are calibrated on made-up *queries*;
            without it whole items stand in for queries and random pairs for nonsense, which is rougher

    Raises:
        ConfigError: no items, or vectors that are not (n_items, d).
    """
    config = config or IntentConfig()
    vectors = np.asarray(item_vectors, dtype=np.float32)
    if not len(items) or vectors.ndim != 2 or len(vectors) != len(items):
        raise ConfigError(f"item_vectors must be ({len(items)}, d) with at least one item, got {vectors.shape}")
    titles = [title or "" for title in column(items, "title")]
    known = fit_words(word_texts(items))
    rows, texts = made_up_queries(titles, config.n_made_up, rng=rng)
    if encoder is None:
        texts, asked = [titles[row].lower() for row in rows.tolist()], vectors[rows]
    else:
        asked = encoder.encode(texts, "query")
    probes = (rows, asked, [known.rows(stems(text)) for text in texts])
    prototypes = fit_prototypes(items, vectors, known, config.prototypes, rng=rng, probes=probes)
    chosen = np.sort(rng.choice(len(items), min(config.n_anchors, len(items)), replace=False))
    anchors = vectors[chosen]
    seen = look(texts, asked, known, prototypes, anchors, own=(rows.tolist(), chosen))
    nonsense = _nonsense(texts, (vectors, known, prototypes, anchors), encoder, rng)
    about = np.repeat([True, False], [len(texts), len(nonsense)])
    return IntentModel(
        config=config,
        words=known,
        facets=fit_facets(items, config.facets, known=known),
        prototypes=prototypes,
        anchors=anchors,
        relevance=fit_relevance(np.concatenate([seen.features, nonsense]), about, prior=config.prior),
        usual=np.sort(seen.coherence),
    )


def intent_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> IntentModel:
    """The model that `IntentModel.to_state` described.

    Raises:
        ArtefactError: the state has another format.
    """
    if meta.get("format") != _FORMAT:
        raise ArtefactError(f"intent state must have format {_FORMAT}, got {meta.get('format')!r}; build it again")

    def group(name: str) -> dict[str, NDArray[Any]]:
        return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}

    return IntentModel(
        config=IntentConfig.model_validate(meta["config"]),
        words=words_from_state(group("words"), meta["vocabulary"]),
        facets=facets_from_state(group("facets"), meta["facets"]),
        prototypes=prototypes_from_state(group("prototypes"), meta["prototypes"]),
        anchors=arrays["anchors"],
        relevance=Relevance(**group("relevance"), bias=float(meta["relevance_bias"])),
        usual=arrays["usual"],
    )


def _largest(share: NDArray[np.float32], k: int) -> list[int]:
    """Positions of the ``k`` largest, largest first, ties by position."""
    if len(share) > k:
        least = np.partition(share, -k)[-k]
        some = np.flatnonzero(share >= least)
    else:
        some = np.arange(len(share))
    return some[np.argsort(-share[some], kind="stable")][:k].tolist()


def _nonsense(
    texts: Sequence[str],
    catalogue: tuple[NDArray[np.float32], WordIndex, Prototypes, NDArray[np.float32]],
    encoder: Encoder | None,
    rng: Generator,
) -> NDArray[np.float32]:
    """Features of texts that ask this catalogue for nothing: shuffled letters and ordinary sentences, as many of each.

    Without an encoder their similarities are those of random items to the rest of the catalogue.
    """
    vectors, known, prototypes, anchors = catalogue
    noise = [shuffled(text, rng=rng) for text in texts[: len(SENTENCES)]]
    asked = [*noise, *SENTENCES]
    if encoder is not None:
        return look(asked, encoder.encode(asked, "query"), known, prototypes, anchors).features
    features = look(asked, np.zeros((len(asked), vectors.shape[1]), np.float32), known, prototypes, anchors).features
    usual = np.sort(vectors[rng.integers(len(vectors), size=len(asked))] @ anchors.T, axis=1)
    features[:, FEATURES.index("nearest")] = usual[:, int(0.9 * usual.shape[1])]
    features[:, FEATURES.index("near")] = usual[:, int(0.8 * usual.shape[1])]
    return features
