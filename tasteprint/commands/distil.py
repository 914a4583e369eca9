"""``tasteprint distil``: a static encoder made from the shop's encoder and fitted to the shop's own texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption
from .progress import steps

if TYPE_CHECKING:
    import numpy as np

    from ..profiling.encoders.distil import Distilled
    from ..profiling.templates import TemplateConfig


def distil(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the static encoder, new.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Package, checkpoint folder or hub name to distil.", show_default=False),
    ] = None,
    texts: Annotated[
        int, typer.Option("--texts", min=0, help="Item texts to fit to at most; 0 = none, as model2vec does.")
    ] = 50_000,
    dim: Annotated[
        int | None, typer.Option("--dim", min=2, help="Length of the vectors; default: the encoder's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of a vector cache of 'tasteprint embed'.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the texts.")] = 0,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Distil a shop's encoder into token vectors: hundreds of times faster, for first passes and small machines.

    A text becomes the mean of vectors looked up for its tokens and frequent pairs of tokens, fitted so that it comes
    near the encoder's own vector. What that loses is measured on texts kept out of the fit. Use the result by its
    name, static:OUT.

    Examples:

      tasteprint distil shops/grocery --out work/static --cache work/embeddings/cache

      tasteprint embed shops/grocery --out work/fast --encoder static:work/static

      tasteprint distil shops/grocery --out work/plain --texts 0 --dim 256 --json
    """
    import numpy as np

    from ..config import load_settings
    from ..profiling.embedding.embeddings import embed_texts
    from ..profiling.encoders.checkpoint import checkpoint_folder, read_checkpoint
    from ..profiling.encoders.distil import DistilConfig, distil_static
    from ..profiling.encoders.encoder import open_encoder
    from ..profiling.encoders.static import check_new

    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    settings = load_settings(config, sets=[*(sets or ()), *named]).settings
    check_new(out)
    checkpoint = read_checkpoint(checkpoint_folder(settings.encoder.name))
    base = open_encoder(settings.encoder)
    rng = np.random.default_rng(seed)
    chosen = _texts(shop, settings.template, texts, rng)
    with steps(quiet=as_json) as say:
        vectors = embed_texts(
            chosen, base, cache, progress=lambda done, total: say("Encoding the shop's texts", done, total, None)
        )
        made = distil_static(
            base,
            checkpoint.encoder / "tokenizer.json",
            out,
            texts=chosen,
            vectors=vectors,
            config=DistilConfig(dim=dim),
            rng=rng,
            lower=checkpoint.lower,
            progress=lambda done, total: say("Encoding the vocabulary", done, total, None),
        )
    if as_json:
        typer.echo(json.dumps({"shop": str(shop), "out": str(out), "name": f"static:{out}"} | made.to_dict()))
    else:
        _show(out, made)


def _texts(shop: Path, template: TemplateConfig, most: int, rng: np.random.Generator) -> list[str]:
    """At most ``most`` distinct item texts of a shop, drawn by ``rng``.

    Raises:
        ShopError: the shop has no items.
    """
    from ..profiling.errors import ShopError
    from ..profiling.tables.shop import read_shop
    from ..profiling.templates import item_texts

    if not most:
        return []
    items = read_shop(shop, tables=["items"]).items
    if items is None:
        raise ShopError(f"shop {shop}: distil needs items.parquet, but there is none; name a shop with items")
    distinct = [text for text in dict.fromkeys(item_texts(items, template)) if text]
    return [distinct[row] for row in sorted(rng.permutation(len(distinct))[:most])]


def _show(out: Path, made: Distilled) -> None:
    """What was made, for people."""
    pairs = f" and {made.n_pairs:,} pairs" if made.n_pairs else ""
    typer.echo(f"static:{out}: {made.n_tokens:,} tokens{pairs}, {made.dim} dimensions, from {made.base}")
    if made.fidelity is None:
        typer.echo("fitted to no texts; what it loses was not measured")
    else:
        typer.echo(f"fitted to {made.n_texts:,} texts; on others: {made.fidelity}")
