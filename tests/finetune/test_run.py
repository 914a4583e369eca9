"""A fine-tuning run: it learns, stops where it is told, goes on where it was killed, and refuses to mix runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tasteprint.finetune.prepare import examples_digest, n_steps, prepare
from tasteprint.finetune.run import Outcome, read_curve, read_outcome, read_run_config, run
from tasteprint.finetune.train_config import LEARNING_RATES, FinetuneConfig, read_config
from tasteprint.finetune.trainer import TextTrainer, last_checkpoint
from tasteprint.profiling.adapters.kinds import ADAPTERS
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ConfigError, ExtraMissingError
from tests.finetune.runs import base_for, small_config, small_shop


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_for(small_shop(), tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """One thread: sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(outcome: Outcome) -> dict[str, np.ndarray]:
    """The saved adapter's tensors."""
    from safetensors.numpy import load_file

    (file,) = Path(outcome.folder).glob("adapter/v-*/adapter.safetensors")
    return load_file(file)


def trained(base: Path, out: Path, config: FinetuneConfig | None = None) -> Outcome:
    return run(small_shop(), config or small_config(base), out, clock=time.perf_counter)


def test_a_run_learns_and_its_adapter_opens(base: Path, tmp_path: Path):
    outcome = trained(base, tmp_path / "run")
    assert outcome.tuned["score"] > outcome.base["score"] + 0.05
    assert outcome.trained < outcome.parameters / 2
    assert read_outcome(tmp_path / "run") == outcome
    curve = read_curve(tmp_path / "run")
    assert [row["step"] for row in curve if "eval_score" in row] == [6, 12, 18]
    assert max(row["eval_score"] for row in curve if "eval_score" in row) == pytest.approx(outcome.tuned["score"])
    assert curve[-1]["epoch"] == pytest.approx(6.0)
    tuned = open_encoder(EncoderConfig(name=str(base), adapter=str(tmp_path / "run" / "adapter")))
    plain = open_encoder(EncoderConfig(name=str(base)))
    assert tuned.stamp.weights == plain.stamp.weights
    assert tuned.stamp.adapter == outcome.adapter
    assert np.abs(tuned.encode(["green tea"]) - plain.encode(["green tea"])).max() > 0.01
    report = (tmp_path / "run" / "report.html").read_text()
    assert "<polyline" in report
    assert f"{outcome.tuned['score']:.4f}" in report


@pytest.mark.parametrize(("killed_at", "kind"), [(2, "lora"), (7, "lora"), (14, "adalora")])
def test_killed_and_resumed_is_the_same_to_the_last_bit(
    base: Path, tmp_path: Path, killed_at: int, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """With dropout in network and adapter, so that random numbers must go on where they were."""
    config = small_config(base, adapter=kind, dropout=0.2)
    config = config.model_copy(update={"adapter": config.adapter.model_copy(update={"dropout": 0.1})})
    whole = trained(base, tmp_path / "whole", config)
    step, count = TextTrainer.training_step, itertools.count(1)

    def killed(self: TextTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if next(count) > killed_at:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(TextTrainer, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(base, tmp_path / "killed", config)
    assert not (tmp_path / "killed" / "result.json").exists()
    torch.manual_seed(99)  # whatever the next process has drawn before
    resumed = trained(base, tmp_path / "killed", config)
    assert resumed.adapter == whole.adapter
    assert resumed.tuned == whole.tuned
    first, second = weights(whole), weights(resumed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_killed_between_the_last_step_and_the_end(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = trained(base, tmp_path / "whole")

    def killed(*args: object, **kwargs: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tasteprint.finetune.run.save_adapter", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(base, tmp_path / "killed")
    resumed = trained(base, tmp_path / "killed")
    assert (resumed.adapter, resumed.tuned, resumed.steps) == (whole.adapter, whole.tuned, whole.steps)
    assert read_curve(tmp_path / "killed") == read_curve(tmp_path / "whole")


def test_patience_outlives_a_kill(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Looked at every second step; nothing new at the second and third look ends it, though killed in between."""
    config = small_config(base, evaluations=9, patience=2)
    looks = iter([0.1, 0.5, 0.4])

    def look(*args: object, **kwargs: object) -> dict[str, float]:
        return {"score": next(looks)}

    step, count = TextTrainer.training_step, itertools.count(1)

    def killed(self: TextTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if next(count) > 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr("tasteprint.finetune.run.measure", look)
        with monkeypatch.context() as inner:
            inner.setattr(TextTrainer, "training_step", killed)
            with pytest.raises(KeyboardInterrupt):
                trained(base, tmp_path / "run", config)
        looks = iter([0.1, 0.3, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9])  # the base again, the third look, the end
        outcome = trained(base, tmp_path / "run", config)
    assert outcome.steps == 6
    assert outcome.best_step == 2


def test_a_teacher_guides_and_is_learned_from(base: Path, tmp_path: Path):
    plain = small_config(base, epochs=2)
    for name, loss in (("guided", {"guide_margin": 0.0}), ("margin", {"name": "margin_mse"})):
        config = plain.model_copy(update={"loss": plain.loss.model_validate(loss)})
        outcome = trained(base, tmp_path / name, config)
        assert outcome.adapter
        assert read_curve(tmp_path / name)[0]["loss"] != read_curve(tmp_path / "guided")[0]["loss"] or name == "guided"


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path):
    for number, state in ((3, "{}"), (6, '{"a": ')):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        (folder / "adapter.safetensors").write_bytes(b"x")
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-9").mkdir()
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-3"
    assert last_checkpoint(tmp_path / "nothing") is None


def test_gradient_caching_learns_the_same(base: Path, tmp_path: Path):
    plain = trained(base, tmp_path / "plain")
    cached = trained(base, tmp_path / "cached", small_config(base, cached_tokens=64))
    one, two = weights(plain), weights(cached)
    assert max(np.abs(one[name] - two[name]).max() for name in one) < 1e-4
    for a, b in zip(read_curve(tmp_path / "plain"), read_curve(tmp_path / "cached"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)


def test_seeds_differ_and_repeat(base: Path, tmp_path: Path):
    first = trained(base, tmp_path / "a")
    again = trained(base, tmp_path / "b")
    other = trained(base, tmp_path / "c", small_config(base, seed=1))
    assert first.adapter == again.adapter
    assert first.adapter != other.adapter
    assert first.base == other.base, "runs with different seeds are looked at on the same anchors"


def test_patience_stops_early(base: Path, tmp_path: Path):
    config = small_config(base, learning_rate=1e-3, evaluations=9, patience=2)
    outcome = trained(base, tmp_path / "run", config)
    assert outcome.steps < 18


def test_adalora_moves_ranks_during_a_run(base: Path, tmp_path: Path):
    outcome = trained(base, tmp_path / "run", small_config(base, adapter="adalora", epochs=12))
    ranks = {name: int((np.abs(array) > 0).sum()) for name, array in weights(outcome).items() if "lora_E" in name}
    assert len(set(ranks.values())) > 1, ranks


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_the_curve_goes_to_a_tracker_too(base: Path, tmp_path: Path, tracker: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip(tracker)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlflow"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trained(base, tmp_path / "run", small_config(base, epochs=1, report_to=[tracker]))
    written = [*tmp_path.rglob("events.out.tfevents*"), *tmp_path.glob("mlflow/*/*/metrics/*loss")]
    assert written


def test_a_tracker_that_is_not_installed_is_named(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasteprint.finetune.trainer.find_spec", lambda name: None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[track\]'"):
        trained(base, tmp_path / "run", small_config(base, report_to=["tensorboard"]))


def test_a_folder_holds_one_run(base: Path, tmp_path: Path):
    trained(base, tmp_path / "run", small_config(base, epochs=1))
    with pytest.raises(ConfigError, match="holds a finished run"):
        trained(base, tmp_path / "run", small_config(base, epochs=1))
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(ConfigError, match="other settings"):
        trained(base, tmp_path / "run", small_config(base, epochs=2))
    changed = small_shop()
    changed.items["title"] = changed.items["title"] + " new"  # type: ignore[index]
    with pytest.raises(ConfigError, match="another data"):
        run(changed, small_config(base, epochs=1), tmp_path / "run", clock=time.perf_counter)
    assert read_run_config(tmp_path / "run") == small_config(base, epochs=1)


def test_held_out_are_validation_judgements_or_a_share_without_them(base: Path):
    with_judgements = prepare(small_shop(), small_config(base))
    assert with_judgements.judged
    assert with_judgements.held.graded
    config = small_config(base).model_copy(
        update={"pairs": small_config(base).pairs.model_copy(update={"sources": ("catalogue",)})}
    )
    without = prepare(_without_valid(), config)
    assert not without.judged
    assert not set(without.held.anchors) & set(without.train.anchors)
    assert examples_digest(without.train) != examples_digest(with_judgements.train)


def test_every_kind_has_a_rate():
    assert set(LEARNING_RATES) == set(ADAPTERS)


def test_settings_are_read_from_a_file(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('[adapter]\nkind = "bitfit"\n[train]\nseed = 3\n')
    config = read_config(path, sets=["train.epochs=0.5"])
    assert (config.adapter.kind, config.train.seed, config.train.epochs) == ("bitfit", 3, 0.5)
    assert config.learning_rate == LEARNING_RATES["bitfit"]
    assert n_steps(480, config) == 5
    assert read_config(path, sets=["train.seed=4"]).arm() == read_config(path).arm() != read_config().arm()
    with pytest.raises(ConfigError, match=r"train\.epoch.*nearest is 'train\.epochs'"):
        read_config(path, sets=["train.epoch=1"])


def _without_valid():
    shop = small_shop()
    table = shop.table("judgements")
    table.loc[table["split"] == "valid", "split"] = "test"
    return shop
