"""The learned taste of a shopper: a small causal transformer over their newest events, computed in numpy.

Covers what answering needs: item vectors, shopper vectors, scores, and the model as plain arrays. Training it is
`retrieval.taste`'s work; nothing here imports torch. The score of an item is one inner product, so a shopper vector
is a block of a profile like any other. Architecture: Kang and McAuley, "Self-attentive sequential recommendation",
ICDM 2018, with pre-norm blocks, attention biases by distance and by time as in Zhai et al., "Actions speak louder than
words", ICML 2024 (section 3.1), and items that are text, words and an id together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArtefactError
from .log import EventLog, Requests
from .taste_events import Events, next_times, padded_events

Float = NDArray[np.float32]

FORMAT = 1
_ARRAYS = ("items", "kind", "gap", "place", "norm", "shift", "alike_distance", "alike_age", "alike_gain")
_VALUES = ("scale", "last", "together", "epochs")
_CELLS = 400_000
"""Events x longest history computed at once: what stays in a cache."""


@dataclass(frozen=True, eq=False)
class TasteLayer:
    """One transformer block; ``d`` is the width, ``f`` the inner width.

    Attributes:
        norm1, shift1, norm2, shift2: gain and offset of the two layer norms, (d,)
        qkv, qkv_bias: queries, keys and values side by side, (d, 3 d), (3 d,)
        out, out_bias: after attention, (d, d), (d,)
        up, up_bias, down, down_bias: the pointwise network, (d, f), (f,), (f, d), (d,)
        distance: added to attention by steps between two events, (last + 1, heads), or (0, heads)
        age: added to attention by time between them, (N_AGES, heads), or (0, heads)
    """

    norm1: Float
    shift1: Float
    norm2: Float
    shift2: Float
    qkv: Float
    qkv_bias: Float
    out: Float
    out_bias: Float
    up: Float
    up_bias: Float
    down: Float
    down_bias: Float
    distance: Float
    age: Float

    def __call__(self, x: Float, allowed: NDArray[np.bool_], distance: NDArray, age: NDArray) -> Float:
        """The block's output, (n_rows, longest, d)."""
        n, longest, d = x.shape
        heads = max(self.distance.shape[1], 1)
        qkv = layer_norm(x, self.norm1, self.shift1) @ self.qkv + self.qkv_bias
        q, k, v = qkv.reshape(n, longest, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
        weight = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(d // heads))  # (n_rows, heads, longest, longest)
        if len(self.distance):
            weight += self.distance[distance].transpose(0, 3, 1, 2)
        if len(self.age):
            weight += self.age[age].transpose(0, 3, 1, 2)
        mixed = softmax(np.where(allowed[:, None], weight, np.float32(-1e9))) @ v
        x = x + mixed.transpose(0, 2, 1, 3).reshape(n, longest, d) @ self.out + self.out_bias
        inner = np.maximum(layer_norm(x, self.norm2, self.shift2) @ self.up + self.up_bias, 0)
        return x + inner @ self.down + self.down_bias


@dataclass(frozen=True, eq=False)
class TasteModel:
    """Everything that scoring needs; ``d`` is the width.

    Attributes:
        items: item vectors: ``d`` learned columns, then unit rows of what the catalogue says of each item, which may be
            none. Items without training events have both from the catalogue alone, (n_items, d + n_features) float32
        kind: added to an event by kind and sign, (N_KINDS, d), or (0, d)
        gap: added to an event by the time until its step is looked back from, (N_AGES, d), or (0, d)
        place: added to an event by its place from the oldest, (last, d), or (0, d)
        layers: the blocks
        norm, shift: gain and offset of the last layer norm, (d,)
        alike_distance: weight of an event's features by steps before the softmax, (last + 1,), or (0,)
        alike_age: the same by time, (N_AGES,), or (0,)
        alike_gain: how much likeness counts in each feature, (n_features,)
        scale: length of the learned part of a shopper's vector; 0 = as it comes out
        last: newest events that are read
        together: whether events at one time are one step without order
        epochs: passes over the training events that made it
        said: maps the vector of what was said in an event to what is added to it, (d_text, d), or (0, d)
    """

    items: Float
    kind: Float
    gap: Float
    place: Float
    layers: tuple[TasteLayer, ...]
    norm: Float
    shift: Float
    alike_distance: Float
    alike_age: Float
    alike_gain: Float
    scale: float
    last: int
    together: bool
    epochs: int
    said: Float = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    def scores(self, requests: Requests) -> Float:
        """Inner products with every item, (n_requests, n_items); zeros without history."""
        return self.shoppers(requests) @ self.items.T

    def shoppers(self, requests: Requests) -> Float:
        """What each shopper wants, (n_requests, d_items) float32; zeros without history."""
        out = np.zeros((len(requests), self.items.shape[1]), dtype=np.float32)
        lengths = np.minimum(requests.stop - requests.start, self.last)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        while len(order):  # rows of like length together, so that little is padding
            longest = int(lengths[order[min(len(order), 4096) - 1]])
            n = max(1, min(_CELLS // longest**2, _CELLS // (8 * longest), 4096))
            rows, order = order[:n], order[n:]
            out[rows] = self._shoppers(requests.take(rows))
        return out

    def _shoppers(self, requests: Requests) -> Float:
        """Vectors of requests that all have a history."""
        events = request_events(requests, last=self.last, together=self.together)
        states = self.states(events)
        newest = (events.step == events.step.max(axis=1, where=events.valid, initial=-1, keepdims=True)) & events.valid
        weight = (newest / newest.sum(axis=1, keepdims=True)).astype(np.float32)
        return np.einsum("rn,rnd->rd", weight, states)

    def states(self, events: Events) -> Float:
        """What each event and those before it lead to expect, on the axes of ``items``, (n_rows, longest, d_items)."""
        width = len(self.norm)
        x = self.items[events.item, :width] * np.float32(np.sqrt(width))
        if len(self.kind):
            x = x + self.kind[events.kind]
        if len(self.gap):
            x = x + self.gap[events.gap()]
        if len(self.place):
            x = x + self.place[: x.shape[1]]
        if len(self.said) and (spoken := events.spoken()).any():
            x[spoken] += events.texts[events.said[spoken]] @ self.said
        allowed, distance, age = events.allowed(), events.distance(self.last), events.age()
        for layer in self.layers:
            x = layer(x, allowed, distance, age)
        learned = layer_norm(x, self.norm, self.shift)
        if self.scale:
            length = np.linalg.norm(learned, axis=-1, keepdims=True)
            learned = learned * (np.float32(self.scale) / np.maximum(length, np.float32(1e-12)))
        if not len(self.alike_gain):
            return learned
        weight = self.alike_distance[distance]
        if len(self.alike_age):
            weight = weight + self.alike_age[age]
        alike = softmax(np.where(allowed, weight, np.float32(-1e9))) @ self.items[events.item, width:]
        return np.concatenate([learned, alike * self.alike_gain], axis=-1)


def request_events(requests: Requests, *, last: int, together: bool) -> Events:
    """The newest ``last`` events of each request; the newest step is looked back from at the request's time."""
    request, event = requests.events(last)
    step = event_steps(requests.log, request, event, together=together)
    asked_s = next_times(requests.log.at_s[event], request, step, requests.now_s)
    lengths = np.bincount(request, minlength=len(requests))
    return padded_events(requests.log, event, lengths, asked_s=asked_s, step=step)


def event_steps(
    log: EventLog, row: NDArray[np.int64], event: NDArray[np.int64], *, together: bool
) -> NDArray[np.int64]:
    """Step of each event, ascending along the rows, (n_events,): its place, or with ``together`` one for each time."""
    if not together or not len(event):
        return np.arange(len(event), dtype=np.int64)
    at_s = log.at_s[event]
    return np.cumsum(np.r_[False, (row[1:] != row[:-1]) | (at_s[1:] != at_s[:-1])])


def layer_norm(x: Float, gain: Float, offset: Float) -> Float:
    """Each row centred and scaled to variance 1, then ``gain`` and ``offset``; as in torch, epsilon is 1e-5."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(1e-5)) * gain + offset


def softmax(x: Float) -> Float:
    """Exponentials of the last axis over their sum.

    >>> softmax(np.zeros((1, 4), dtype=np.float32)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def taste_state(model: TasteModel) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """A model as arrays by name and JSON values."""
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    arrays |= {"said": model.said} if len(model.said) else {}
    for number, layer in enumerate(model.layers):
        arrays |= {f"layers.{number}.{field.name}": getattr(layer, field.name) for field in fields(layer)}
    said = {name: getattr(model, name) for name in _VALUES}
    return arrays, {"format": FORMAT, "layers": len(model.layers), **said}


def taste_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> TasteModel:
    """The model that `taste_state` took apart.

    Raises:
        ArtefactError: it was saved by another version, or arrays are missing.
    """
    if meta.get("format") != FORMAT:
        raise ArtefactError(f"taste model: format must be {FORMAT}, got {meta.get('format')!r}; train it again")
    try:
        layers = tuple(
            TasteLayer(
                **{field.name: np.asarray(arrays[f"layers.{number}.{field.name}"]) for field in fields(TasteLayer)}
            )
            for number in range(meta["layers"])
        )
        plain: dict[str, Any] = {name: np.asarray(arrays[name]) for name in _ARRAYS}
        plain |= {"said": np.asarray(arrays["said"])} if "said" in arrays else {}
        said: dict[str, Any] = {name: meta[name] for name in _VALUES}
        return TasteModel(layers=layers, **plain, **said)
    except KeyError as error:
        raise ArtefactError(f"taste model: {error.args[0]} is missing; train it again") from error
