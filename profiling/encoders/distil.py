"""Making a static encoder from another one: token vectors read off it, then fitted to a shop's own texts.

Without texts this is the way of model2vec (Minish Lab, 2024): encode each token of the vocabulary alone, take off the
common mean, weight by rarity (SIF; Arora et al., A simple but tough-to-beat baseline for sentence embeddings, 2017),
and keep the principal axes. With texts the vectors start there and are fitted by ridge regression, so that the mean
over a text's tokens and frequent pairs of neighbours comes near the vector that the base gives the text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import EncoderError
from .encoder import Encoder
from .fidelity import Fidelity, compare_vectors
from .stamp import EncoderStamp
from .static import StaticTable, check_new, features, open_tokenizer, token_ids, unknown_id, write_static

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from tokenizers import Tokenizer

Progress = Callable[[int, int], None]
"""Called with how many tokens of the vocabulary are encoded and how many there are."""

_CHUNK = 2048
_HELD_OUT = 0.1
_MAX_HELD_OUT = 1000
_STOP = 1e-3


class DistilConfig(BaseModel):
    """How a static encoder is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int | None = Field(
        default=None, ge=2, description="length of the vectors; null = the base's, in its own space"
    )
    sif: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="frequency at which a token counts half; null = 1e-3 with texts, else 1e-4",
    )
    ridge: float = Field(default=0.1, gt=0, description="pull of each token towards its own vector, in texts")
    iterations: int = Field(default=40, ge=1, le=1000, description="steps of conjugate gradients at most")
    pair_count: int = Field(
        default=8, ge=0, description="texts that must hold a pair of neighbours for it to get a vector; 0 = no pairs"
    )
    max_pairs: int = Field(default=100_000, ge=0, description="pairs with a vector at most, most frequent first")
    max_length: int = Field(default=512, ge=4, le=8192, description="tokens kept of a text")
    half: bool = Field(default=True, description="store 16-bit numbers: half the size, no loss that can be measured")


@dataclass(frozen=True)
class Distilled:
    """What was made.

    Attributes:
        base: stamp of the encoder it was made from
        weights: sha256 of the vectors' file
        n_tokens, n_pairs, dim: its size
        n_texts: texts it was fitted on, 0 = none
        fidelity: how near it is to the base on texts it was not fitted on; None without texts. Cosines are those of
            the base's space projected on the axes kept
    """

    base: EncoderStamp
    weights: str
    n_tokens: int
    n_pairs: int
    dim: int
    n_texts: int
    fidelity: Fidelity | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"base": self.base.to_dict() | {"digest": self.base.digest}}


def distil_static(
    base: Encoder,
    tokenizer: str | Path,
    folder: str | Path,
    *,
    texts: Sequence[str] = (),
    vectors: NDArray[np.float32] | None = None,
    config: DistilConfig | None = None,
    rng: np.random.Generator | None = None,
    lower: bool = False,
    progress: Progress | None = None,
) -> Distilled:
    """Distil ``base`` into a folder that `static.open_static` opens.

    Args:
        base: the encoder to imitate
        tokenizer: its ``tokenizer.json``
        folder: where to write; must not exist
        texts: texts of the shop to fit on; a tenth, at most 1,000, is kept out to measure the loss. None = no fitting
        vectors: their vectors by ``base``, (n_texts, base.dim)
        config: sizes and weights
        rng: chooses the texts kept out; needed with texts
        lower: whether the base lower-cases texts before its tokenizer
        progress: called while the vocabulary is encoded

    Raises:
        EncoderError: texts without vectors or rng, too few texts, the tokenizer cannot be read, ``dim`` is larger than
            the base's, or ``folder`` exists.
    """
    config = DistilConfig() if config is None else config
    if config.dim is not None and config.dim > base.dim:
        raise EncoderError(f"dim must be at most the base's {base.dim}, got {config.dim}; leave it out to keep all")
    check_new(folder)
    tokens = open_tokenizer(Path(tokenizer), config.max_length)
    if lower:
        _lower(tokens)
    plain = token_vectors(base, tokens, progress=progress)  # (n_tokens, base.dim)
    if len(texts):
        if vectors is None or rng is None or len(vectors) != len(texts) or len(texts) < 10:
            raise EncoderError(
                f"texts must be 10 or more, with rng and as many vectors by the base, got {len(texts)}; "
                "encode them first, or distil without texts"
            )
        table, fidelity, n_texts = _fitted(plain, tokens, texts, vectors, config, rng)
    else:
        weights = sif_weights(zipf(len(plain)), config.sif or 1e-4)
        dim = config.dim or base.dim
        start = (plain - plain.mean(axis=0)) * weights[:, None]
        start = start if dim == base.dim else start @ principal_axes(plain - plain.mean(axis=0), dim).T
        table, fidelity, n_texts = StaticTable(start, *_no_pairs(dim)), None, 0
    if config.half:
        table = StaticTable(table.tokens.astype(np.float16), table.pairs, table.pair_vectors.astype(np.float16))
    about: dict[str, Any] = {
        "base": base.stamp.to_dict() | {"digest": base.stamp.digest},
        "recipe": config.model_dump(),
    }
    about |= {"max_length": config.max_length, "n_texts": n_texts}
    about |= {"fidelity": None if fidelity is None else fidelity.to_dict()}
    digest = write_static(table, tokens, folder, about=about)
    return Distilled(base.stamp, digest, len(table.tokens), len(table.pairs), table.tokens.shape[1], n_texts, fidelity)


def token_vectors(base: Encoder, tokenizer: Tokenizer, *, progress: Progress | None = None) -> NDArray[np.float32]:
    """Vector of each token's own text by ``base``, (n_vocabulary, dim); zeros for special and unused tokens."""
    words = _token_texts(tokenizer)
    vectors = np.zeros((len(words), base.dim), dtype=np.float32)
    for start in range(0, len(words), _CHUNK):
        if progress is not None:
            progress(start, len(words))
        vectors[start : start + _CHUNK] = base.encode(words[start : start + _CHUNK], "item")
    if progress is not None:
        progress(len(words), len(words))
    return vectors


def zipf(n: int) -> NDArray[np.float64]:
    """Frequencies of ``n`` tokens in order of rank, summing to one, by Zipf's law from rank 2 on, (n,).

    >>> zipf(2).round(2).tolist()
    [0.6, 0.4]
    """
    ranks = 1 / np.arange(2, n + 2)
    return np.asarray(ranks / ranks.sum())


def sif_weights(frequency: NDArray[np.floating], half: float) -> NDArray[np.float32]:
    """Weight half / (half + frequency) of each token (Arora et al., 2017, section 3), (n,).

    >>> sif_weights(np.array([0.0, 0.001]), 0.001).tolist()
    [1.0, 0.5]
    """
    return (half / (half + frequency)).astype(np.float32)


def principal_axes(rows: NDArray[np.floating], n: int) -> NDArray[np.float32]:
    """The ``n`` directions that hold most of ``rows`` (n_rows, d): eigenvectors of their products, (n, d)."""
    _, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    return axes[:, ::-1][:, :n].T.astype(np.float32)


def fit_rows(
    x: csr_matrix, y: NDArray[np.float32], start: NDArray[np.float32], *, ridge: float, iterations: int = 40
) -> NDArray[np.float32]:
    """The table E that makes ``x @ E`` near ``y`` while staying near ``start``.

    Minimises |x E - y|^2 + ridge |E - c start|^2 by conjugate gradients, each column on its own, c being the number
    that brings ``x @ start`` nearest to ``y``.

    Args:
        x: (n_texts, n_rows), sparse
        y: wanted, (n_texts, d)
        start: (n_rows, d)
        ridge: above 0
        iterations: steps at most

    Returns:
        (n_rows, d) float32.
    """
    back = x.T.tocsr()
    guess = x @ start
    start = start * np.float32((guess * y).sum() / max(float((guess * guess).sum()), 1e-12))
    moved = np.zeros_like(start)
    rest = np.asarray(back @ (y - x @ start))  # minus the gradient
    step, size = rest.copy(), (rest * rest).sum(axis=0)  # size: (d,)
    enough = _STOP**2 * size.sum()
    for _ in range(iterations):
        if size.sum() <= enough:
            break
        turned = back @ (x @ step) + np.float32(ridge) * step
        far = size / np.maximum((step * turned).sum(axis=0), 1e-30)  # (d,)
        moved += far * step
        rest -= far * turned
        left = (rest * rest).sum(axis=0)
        step = rest + (left / np.maximum(size, 1e-30)) * step
        size = left
    return start + moved


def frequent_pairs(ids: Sequence[Sequence[int]], count: int, most: int) -> NDArray[np.int32]:
    """Neighbouring tokens that at least ``count`` texts hold, the ``most`` frequent at most, (n_pairs, 2), sorted.

    >>> frequent_pairs([[1, 2, 3], [1, 2], [2, 3]], 2, 10).tolist()
    [[1, 2], [2, 3]]
    """
    if not count or not most:
        return np.empty((0, 2), dtype=np.int32)
    counted = Counter(pair for text in ids for pair in set(pairwise(text)))
    kept = sorted(((-n, pair) for pair, n in counted.items() if n >= count))[:most]
    return np.array(sorted(pair for _, pair in kept), dtype=np.int32).reshape(-1, 2)


def _fitted(
    plain: NDArray[np.float32],
    tokenizer: Tokenizer,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    config: DistilConfig,
    rng: np.random.Generator,
) -> tuple[StaticTable, Fidelity, int]:
    """The table fitted on most texts, what it loses on the others, and on how many it was fitted."""
    order = rng.permutation(len(texts))
    n_out = min(_MAX_HELD_OUT, max(2, int(_HELD_OUT * len(texts))))
    out, used = np.sort(order[:n_out]), np.sort(order[n_out:])
    ids = token_ids(tokenizer, list(texts), unknown_id(tokenizer))
    chosen = [ids[row] for row in used]
    pairs = frequent_pairs(chosen, config.pair_count, config.max_pairs)
    x = features(chosen, len(plain), pairs)  # (n_used, n_tokens + n_pairs)
    counts = np.bincount(np.concatenate([np.asarray(text, dtype=np.int64) for text in chosen]), minlength=len(plain))
    weights = sif_weights((counts + 0.1) / (counts + 0.1).sum(), config.sif or 1e-3)
    start = (plain - plain.mean(axis=0)) * weights[:, None]
    if config.dim is not None and config.dim < plain.shape[1]:
        axes = principal_axes(vectors[used], config.dim)  # (dim, base dim)
        start, vectors = start @ axes.T, _unit(vectors @ axes.T)
    start = np.vstack([start, np.zeros((len(pairs), start.shape[1]), dtype=np.float32)])
    fitted = fit_rows(x, vectors[used], start, ridge=config.ridge, iterations=config.iterations)
    seen = _unit(features([ids[row] for row in out], len(plain), pairs) @ fitted)
    measured = compare_vectors(vectors[out], seen, k=min(10, n_out - 1))
    return StaticTable(fitted[: len(plain)], pairs, fitted[len(plain) :]), measured, len(used)


def _token_texts(tokenizer: Tokenizer) -> list[str]:
    """The text of each token by id, without the sign of a piece inside a word; empty for special and unused ones."""
    says = json.loads(tokenizer.to_str())
    inside = says["model"].get("continuing_subword_prefix") or ""
    unknown = unknown_id(tokenizer)
    special = {added["id"] for added in says["added_tokens"] if added["special"]} - {unknown}
    words = []
    for token in range(tokenizer.get_vocab_size()):
        raw = tokenizer.id_to_token(token) or ""
        if token == unknown:
            words.append(raw)
        elif token in special or re.fullmatch(r"\[unused\d+\]", raw):
            words.append("")
        else:
            words.append(tokenizer.decode([token], skip_special_tokens=False).strip().removeprefix(inside))
    return words


def _lower(tokenizer: Tokenizer) -> None:
    """Make a tokenizer lower-case its texts first."""
    from tokenizers.normalizers import Lowercase
    from tokenizers.normalizers import Sequence as Steps

    tokenizer.normalizer = Steps([Lowercase(), tokenizer.normalizer] if tokenizer.normalizer else [Lowercase()])


def _no_pairs(dim: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """No pairs, and their vectors."""
    return np.empty((0, 2), dtype=np.int32), np.empty((0, dim), dtype=np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
