"""The harness on the tiny shop: shapes scripts rely on, oracles for ranking, what tuning may see, what is written."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tasteprint.evaluation import harness, methods, protocol, tuning
from tasteprint.evaluation.harness import evaluate
from tasteprint.evaluation.labels import evaluate_labels, label_tasks, macro_f1
from tasteprint.evaluation.methods import METHODS, Resources, chosen_methods
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import measure, rank, slice_means
from tasteprint.evaluation.results import as_json, as_markdown, examples, per_request, write_results
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ConfigError, ShopError
from tasteprint.profiling.log import Requests
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.scorer import TrainingSet

SHOP = tiny_shop()
ENCODER = HashEncoder(dim=32)
VECTORS = ENCODER.encode(SHOP.items["title"].tolist())
BASELINES = [name for name in METHODS if name != "tasteprint"]


def serving(protocol: str) -> list[str]:
    return [name for name in BASELINES if protocol in METHODS[name].protocols]


class Oracle:
    """Scores every right answer 1 and all else 0; only a test may look there."""

    def __init__(self, split) -> None:
        self.answers = {}
        for r in range(len(split.requests)):
            key = (split.requests.start[r], split.requests.stop[r], (split.requests.texts or ("",) * 999)[r])
            self.answers[key] = split.truth.items[split.truth.indptr[r] : split.truth.indptr[r + 1]]

    def scores(self, requests: Requests) -> np.ndarray:
        out = np.zeros((len(requests), requests.log.n_items), dtype=np.float32)
        texts = requests.texts or ("",) * len(requests)
        for r, key in enumerate(zip(requests.start, requests.stop, texts, strict=True)):
            out[r, self.answers[key]] = 1
        return out


@pytest.mark.parametrize("protocol", ["leave_one_out", "time_split"])
def test_the_oracle_gets_everything_right(protocol: str) -> None:
    split = make_split(SHOP, protocol, Options())
    ranked = rank(Oracle(split), split, batch=7)
    values = measure(ranked, split)
    for key in ("ndcg@10", "recall@10", "mrr@10", "map@10", "hit@10"):
        assert values[key] == pytest.approx(np.ones(len(split.requests))), key
    for name, part in slice_means(values, ranked, split).items():
        assert part["recall@10"] == pytest.approx(1), name


def test_a_batch_of_any_size_gives_the_same_numbers() -> None:
    one = evaluate(SHOP, "time_split", ["item-knn", "random"], options=Options(batch=3))
    other = evaluate(SHOP, "time_split", ["item-knn", "random"], options=Options(batch=500))
    for name, run in one.runs.items():
        assert run.metrics == other.runs[name].metrics


def test_seen_items_are_never_ranked_where_they_are_excluded() -> None:
    split = make_split(SHOP, "time_split", Options(exclude_seen=True))
    ranked = rank(Oracle(split), split)
    request, event = split.requests.events()
    had = {(r, i) for r, i in zip(request, split.requests.log.item[event], strict=True)}
    n, k = ranked.best.items.shape
    shown = {(r, ranked.best.items[r, c]) for r in range(n) for c in range(k) if ranked.best.valid[r, c]}
    assert not had & shown


@pytest.mark.parametrize("protocol", protocol.RANKING_PROTOCOLS)
def test_results_have_the_shape_scripts_rely_on(protocol: str, tmp_path) -> None:
    results = evaluate(SHOP, protocol, serving(protocol), encoder=ENCODER, vectors=VECTORS, options=Options(seeds=2))
    files = write_results(results, tmp_path / "out")
    found = json.loads(files["results.json"].read_text())
    assert list(found)[:5] == ["shop", "protocol", "n", "methods", "tests"]
    assert (found["shop"], found["protocol"], found["n"]) == ("tiny", protocol, len(results.requests))
    assert list(found["methods"]) == serving(protocol)
    for method in found["methods"].values():
        for key in ("ndcg@10", "recall@10", "recall@100", "mrr@10"):
            assert 0 <= method[key] <= 1
            assert all(0 <= part[key] <= 1 for part in method["per_slice"].values())
        assert method["fit_s"] >= 0
        assert method["rank_s"] >= 0
    assert found["methods"]["random"]["sd"]["ndcg@10"] > 0
    assert len(found["tests"]) == 3 * (len(found["methods"]) - 1)
    assert isinstance(found["validation_in_training"], bool)
    assert isinstance(found["seen_items_excluded"], bool)
    table = pd.read_parquet(files["per_request.parquet"])
    assert len(table) == found["n"]
    for name, method in found["methods"].items():
        assert table[f"ndcg@10:{name}"].mean() == pytest.approx(method["ndcg@10"], abs=1e-6)
    shown = pd.read_parquet(files["examples.parquet"])
    assert set(shown["item_id"]) <= set(SHOP.items["item_id"])
    assert shown["rank"].min() == 1
    markdown = files["table.md"].read_text()
    assert all(f"| {name} |" in markdown for name in found["methods"])
    assert not list((tmp_path / "out").glob(".*"))


def test_search_reports_condensed_and_judged() -> None:
    full = evaluate(SHOP, "search_full", ["bm25"], options=Options())
    rerank = evaluate(SHOP, "search_rerank", ["bm25"], options=Options())
    assert full.runs["bm25"].metrics["condensed_ndcg@10"] == pytest.approx(rerank.runs["bm25"].metrics["ndcg@10"])
    assert 0 < full.runs["bm25"].metrics["judged@10"] <= 1


def test_means_over_seeds_and_their_spread() -> None:
    alone = [evaluate(SHOP, "time_split", ["random"], options=Options(seeds=n)).runs["random"] for n in (1, 3)]
    assert alone[0].spread == {}
    assert alone[1].spread["ndcg@10"] > 0
    assert alone[0].metrics != alone[1].metrics


def test_evaluation_is_deterministic() -> None:
    picked = ["random", "als", "bpr", "svd"]
    first, second = (evaluate(SHOP, "time_split", picked, clock=lambda: 0.0) for _ in range(2))
    assert as_json(first) == as_json(second)


def test_tuning_sees_only_the_validation_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = []

    def spy(method, train, split, **rest):
        stages.append(split.stage)
        assert train.log.at_s.max() < split.requests.now_s.min()
        return tuning.tune(method, train, split, **rest)

    monkeypatch.setattr(harness, "tune", spy)
    results = evaluate(SHOP, "time_split", ["item-knn", "popular"], options=Options(tune=True))
    assert stages == ["valid"]
    run = results.runs["item-knn"]
    assert run.tuned["ndcg@10"] >= run.tuned["reference_ndcg@10"]
    assert results.runs["popular"].tuned is None
    assert "tuned" in as_markdown(results)


@pytest.mark.parametrize("name", [n for n in BASELINES if METHODS[n].rescored])
def test_rescored_options_give_what_a_new_fit_gives(name: str) -> None:
    """Tuning replaces these fields on a fitted model instead of fitting anew."""
    method = METHODS[name]
    split = make_split(SHOP, "time_split", Options(), stage="valid")
    train = TrainingSet(split.train, SHOP.items, VECTORS, split.until_s)
    reference = {option: getattr(method.config(), option) for option in method.grid}
    for option in method.rescored:
        options = {**reference, option: method.grid[option][0]}
        start = tuning._scorer(method, train, reference, fits := {}, Resources(np.random.default_rng(0)))
        late = tuning._scorer(method, train, options, fits, Resources(np.random.default_rng(0)))
        fresh = method.fit(train, method.config(**options), Resources(np.random.default_rng(0)))
        assert type(start) is type(late)
        found, expected = late.scores(split.requests), fresh.scores(split.requests)
        exact = 0.0 if not method.random else 1e-4  # sums over threads come in any order where something is trained
        np.testing.assert_allclose(found, expected, rtol=exact, atol=exact, err_msg=option)


def test_tuning_stops_at_its_budget() -> None:
    split = make_split(SHOP, "time_split", Options(), stage="valid")
    train = TrainingSet(split.train, SHOP.items, VECTORS, split.until_s)
    ticks = iter(range(1000))
    found = tuning.tune(
        METHODS["item-knn"], train, split, seed=0, resources=Resources, clock=lambda: float(next(ticks)), budget_s=3
    )
    assert not found.complete
    assert len(found.tried) < 5
    assert found.value >= found.start


def test_every_grid_names_options_and_valid_values() -> None:
    for name, method in METHODS.items():
        for option, values in method.grid.items():
            assert option in method.config.model_fields, name
            for value in values:
                method.config(**{option: value})
        assert method.rescored <= set(method.grid), name


def test_fixed_names() -> None:
    first = "random popular recent-popular own-most-bought item-knn user-knn transitions own+transitions ease als svd"
    second = " bpr content interests bm25 dense neural-cf sasrec sasrec-softmax taste tasteprint-blocks tasteprint"
    assert " ".join(METHODS) == first + second


def test_names_are_checked() -> None:
    with pytest.raises(ConfigError, match="must be among random, popular"):
        chosen_methods(["itemknn"], "time_split")
    with pytest.raises(ConfigError, match="bm25 does not serve time_split"):
        chosen_methods(["bm25"], "time_split")
    with pytest.raises(ConfigError, match="protocol: must be one of"):
        make_split(SHOP, "loo", Options())
    assert chosen_methods(["popular", "popular"], "time_split") == ("popular",)


def test_a_named_method_that_cannot_run_is_an_error_and_otherwise_a_note() -> None:
    with pytest.raises(ConfigError, match="content needs an encoder"):
        evaluate(SHOP, "time_split", ["content"])
    relative = Shop(**{**vars(SHOP), "meta": {**SHOP.meta, "absolute_time": False}})
    with pytest.raises(ConfigError, match="recent-popular needs times"):
        evaluate(relative, "leave_one_out", ["recent-popular"])
    bench = harness._Bench(relative, "leave_one_out", Options(), None, None, lambda: 0.0, lambda *_: None)
    split = make_split(relative, "leave_one_out", Options())
    assert "absolute_time" in bench.lacks(METHODS["recent-popular"], split)
    assert bench.lacks(METHODS["popular"], split) == ""


def test_a_shop_without_what_a_protocol_needs_says_what_it_has() -> None:
    bare = Shop("bare", items=SHOP.items)
    with pytest.raises(ShopError, match="no events table"):
        evaluate(bare, "time_split", ["popular"])
    with pytest.raises(ShopError, match="no judgements table"):
        evaluate(bare, "search_full", ["bm25"])
    with pytest.raises(ShopError, match="no labels table"):
        evaluate_labels(bare)


def test_a_method_with_a_wrong_shape_is_caught() -> None:
    class Short:
        def scores(self, requests: Requests) -> np.ndarray:
            return np.zeros((len(requests), 3), dtype=np.float32)

    split = make_split(SHOP, "time_split", Options())
    with pytest.raises(ConfigError, match="shape"):
        rank(Short(), split)


def test_labels_by_hand_and_with_everything(tmp_path) -> None:
    results = evaluate_labels(SHOP, encoder=ENCODER)
    found = json.loads(write_results(results, tmp_path)["results.json"].read_text())
    assert set(found["methods"]) == {"majority", "tfidf", "prototype", "logreg"}
    tasks = {task.name: task for task in label_tasks(SHOP)}
    assert set(tasks) == {"category", "sentiment", "intent"}
    intent = tasks["intent"]
    counted = found["methods"]["majority"]["per_slice"]["intent"]
    train = pd.Series(intent.train_labels)
    top = sorted(train.value_counts()[lambda c: c == c.max()].index)[0]
    inside = intent.labels != "other"
    assert counted["accuracy"] == pytest.approx((intent.labels[inside] == top).mean())
    assert counted["out_of_scope_recall"] == float(top == "other")
    assert found["methods"]["tfidf"]["accuracy"] > found["methods"]["majority"]["accuracy"]
    assert "ece" in found["methods"]["tfidf"]
    assert set(evaluate_labels(SHOP).runs) == {"majority", "tfidf"}
    with pytest.raises(ConfigError, match="needs an encoder"):
        evaluate_labels(SHOP, ["prototype"])
    with pytest.raises(ConfigError, match="majority, tfidf"):
        evaluate_labels(SHOP, ["bert"])


def test_sets_of_labels_are_measured_apart() -> None:
    table = SHOP.labels.assign(label=SHOP.labels["task"].str[:1] + "/" + SHOP.labels["label"], task="intent")
    names = [task.name for task in label_tasks(Shop(**{**vars(SHOP), "labels": table}))]
    assert names == ["intent:c", "intent:i", "intent:s"]


def test_macro_f1_equals_sklearn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, said = (np.array(list("abcd"), object)[rng.integers(0, 4, 200)] for _ in range(2))
    assert macro_f1(said, truth) == pytest.approx(f1_score(truth, said, average="macro"))


def test_nothing_half_written_stays(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = evaluate(SHOP, "time_split", ["popular"])
    write_results(results, tmp_path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ArtefactError, match="disk full"):
        write_results(results, tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "results.json").exists()


def test_tables_of_requests_and_examples() -> None:
    results = evaluate(SHOP, "time_split", ["popular", "random"])
    table = per_request(results)
    assert {"request", "user_id", "at", "n_history", "n_relevant", "cold", "ndcg@10:popular"} <= set(table)
    assert len(examples(results)) == 2 * 10 * min(harness.EXAMPLES, results.n)


def test_methods_table_is_what_the_command_says() -> None:
    from tasteprint.commands.evaluate import evaluate as command

    for name in (*methods.METHODS, "majority", "tfidf", "prototype", "logreg", "examples:"):
        assert name in command.__doc__.lower()


@pytest.mark.parametrize("protocol", protocol.RANKING_PROTOCOLS)
def test_without_names_everything_runs_and_is_tested_against_the_pipeline(protocol: str) -> None:
    results = evaluate(SHOP, protocol, encoder=ENCODER, vectors=VECTORS)
    assert list(results.runs) == [name for name in METHODS if protocol in METHODS[name].protocols]
    assert results.about["against"] == "tasteprint"
    assert {test["a"] for test in results.tests} == {"tasteprint"}
    assert results.runs["tasteprint"].metrics["ndcg@10"] > results.runs["random"].metrics["ndcg@10"]
