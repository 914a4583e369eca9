"""How each edition of the Amazon review data writes a review and an item; one record in, the contract's columns out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .base import plain_text

_MONEY = re.compile(r"^\$?\s*(\d[\d,]*(?:\.\d+)?)$")
_YEAR_3000_S = 32_503_680_000.0
_DETAILS_LEFT_OUT = frozenset({"Brand", "Best Sellers Rank", "Date First Available", "Customer Reviews"})


@dataclass(frozen=True)
class Review:
    """One review: ids as in the source, time in seconds since 1970 UTC, 1 to 5 stars."""

    user_id: str
    item_id: str
    at_s: float
    rating: float
    words: tuple[Any, Any]

    @property
    def text(self) -> str | None:
        """Title and body as one text; made when asked for, since the first of two passes needs none."""
        return headed(*self.words)


def review_2014(record: Mapping[str, Any]) -> Review | None:
    """A review of the 2014 or 2018 edition, or None where user, item, time or stars are missing."""
    return _review(record, "reviewerID", ("asin",), "unixReviewTime", 1.0, "overall", ("summary", "reviewText"))


def review_2023(record: Mapping[str, Any]) -> Review | None:
    """A review of the 2023 edition; variants of a product share its ``parent_asin``, which is the item."""
    return _review(record, "user_id", ("parent_asin", "asin"), "timestamp", 1e-3, "rating", ("title", "text"))


def _review(
    record: Mapping[str, Any],
    user: str,
    item: tuple[str, ...],
    time: str,
    second: float,
    stars: str,
    words: tuple[str, str],
) -> Review | None:
    user_id = record.get(user)
    item_id = next((record[name] for name in item if record.get(name)), None)
    at, rating = _number(record.get(time)), _number(record.get(stars))
    if not user_id or not item_id or at is None or rating is None or not 1 <= rating <= 5:
        return None
    if not 0 <= at * second < _YEAR_3000_S:
        return None
    return Review(str(user_id), str(item_id), at * second, rating, (record.get(words[0]), record.get(words[1])))


def headed(title: Any, text: Any) -> str | None:
    """A review's title and text as one text.

    >>> headed("Five Stars", "Works &amp; lasts"), headed("Great!", "Yes"), headed(None, "")
    ('Five Stars. Works & lasts', 'Great! Yes', None)
    """
    head, body = plain_text(title), plain_text(text)
    if head and body:
        return f"{head} {body}" if head[-1] in ".!?…:" else f"{head}. {body}"
    return head or body


def item_2014(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item of the 2014 edition (``categories``, ``imUrl``) or of 2018 (``category``, ``imageURLHighRes``)."""
    item_id = record.get("asin")
    if not item_id:
        return None
    paths = record.get("categories")
    path = paths[0] if isinstance(paths, list) and paths and isinstance(paths[0], list) else record.get("category")
    images = record.get("imUrl") or record.get("imageURLHighRes")
    return {
        "item_id": str(item_id),
        "title": plain_text(record.get("title")),
        "description": joined(record.get("description")),
        "brand": plain_text(record.get("brand")),
        "category": category_path(path),
        "price": price(record.get("price")),
        "image_url": _first(images),
        "attributes": _attributes({"features": _texts(record.get("feature"))}),
    }


def item_2023(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item of the 2023 edition; ``details`` become attributes, its brand and first day on sale columns."""
    item_id = record.get("parent_asin") or record.get("asin")
    if not item_id:
        return None
    details = record.get("details")
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except ValueError:
            details = None
    details = details if isinstance(details, dict) else {}
    free = {str(k): plain_text(str(v)) for k, v in details.items() if k not in _DETAILS_LEFT_OUT and v is not None}
    path = category_path(record.get("categories")) or plain_text(record.get("main_category"))
    return {
        "item_id": str(item_id),
        "title": plain_text(record.get("title")),
        "description": joined(record.get("description")),
        "brand": plain_text(details.get("Brand")) or plain_text(record.get("store")),
        "category": path,
        "price": price(record.get("price")),
        "created_at": first_day(details.get("Date First Available")),
        "image_url": _image_2023(record.get("images")),
        "attributes": _attributes({**free, "features": _texts(record.get("features"))}),
    }


def price(value: Any) -> float | None:
    """A price as a number, or None where it is none: ranges and words have no one price.

    >>> price("$1,299.50"), price(3), price("$5 - $9"), price("—"), price(-1)
    (1299.5, 3.0, None, None, None)
    """
    if isinstance(value, str):
        match = _MONEY.match(value.strip())
        value = match.group(1).replace(",", "") if match else None
    number = _number(value)
    return number if number is not None and number >= 0 else None


def category_path(steps: Any) -> str | None:
    """A list of categories, root first, as the contract writes a path.

    >>> category_path(["Beauty", "Hair &amp; Scalp", ""])
    'Beauty > Hair & Scalp'
    """
    words = [w.replace(">", "/") for w in _texts(steps)]
    return " > ".join(w for w in words if w) or None


def joined(value: Any) -> str | None:
    """A text, or the texts of a list as one.

    >>> joined(["Soft.", "Warm."]), joined([]), joined("x")
    ('Soft. Warm.', None, 'x')
    """
    return " ".join(_texts(value)) or None


def first_day(text: Any) -> datetime | None:
    """A day written as ``June 5, 2018``, or None."""
    try:
        return datetime.strptime(text.strip(), "%B %d, %Y") if isinstance(text, str) else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e300 else None


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for v in values if (text := plain_text(v))]


def _first(value: Any) -> str | None:
    return next(iter(_texts(value)), None)


def _image_2023(images: Any) -> str | None:
    """The first picture of a list of pictures, or of a picture of lists (the two ways the edition is spread)."""
    first = images[0] if isinstance(images, list) and images else images
    if not isinstance(first, dict):
        return None
    return next((url for size in ("hi_res", "large", "thumb") if (url := _first(first.get(size)))), None)


def _attributes(values: Mapping[str, Any]) -> str | None:
    kept = {name: value for name, value in values.items() if name and value}
    return json.dumps(kept, ensure_ascii=False) if kept else None
