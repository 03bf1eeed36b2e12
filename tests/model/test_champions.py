"""Which model serves, and which does not."""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conf.errors import CandlecastError, ConfigurationError, RegistryUnavailable
from conf.sections import Market
from model.artifact import read_manifest, save_artifact
from model.champions import Champions
from model.registry import Registry
from model.served import ServedModel, models_from_json, models_to_json, sealed, unsealed
from tests.artifacts import save_random_artifact


@pytest.fixture
def registry(registry: Registry, tmp_path: Path) -> Registry:
    """Two versions of the 1m model; the second has taken the place of the first."""
    for seed in (1, 2):
        save_random_artifact(tmp_path / f"seed{seed}", seed)
        registry.promote(registry.register(tmp_path / f"seed{seed}", "1m"))
    return registry


def serving(champions: Champions) -> dict[str, str]:
    return {name: model.artifact.version for name, model in champions.current().items()}


def tamper(registry: Registry, version: str) -> None:
    onnx = registry.folder(version) / "model.onnx"
    content = onnx.read_bytes()
    onnx.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_champion_serves(registry: Registry) -> None:
    champions = Champions(registry, ("1m", "1h"), lookback=60, market=Market())
    assert serving(champions) == {"1m": "1m-2"}


def test_a_champion_tampered_with_is_rejected_once_and_its_predecessor_serves(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(registry, "1m-2")
    champions = Champions(registry, ("1m",), lookback=60, market=Market())
    assert serving(champions) == serving(champions) == {"1m": "1m-1"}
    lines = [line for line in caplog.messages if "event=model_rejected model=1m-2" in line]
    assert len(lines) == 1


def test_a_champion_of_another_lookback_does_not_serve(registry: Registry) -> None:
    assert serving(Champions(registry, ("1m",), lookback=30, market=Market())) == {}


def test_a_champion_whose_graph_is_none_is_rejected(registry: Registry, tmp_path: Path) -> None:
    source = registry.folder("1m-2")
    files = {"model.onnx": b"not a graph", "model.keras": (source / "model.keras").read_bytes()}
    save_artifact(tmp_path / "broken", read_manifest(source), files)
    registry.promote(registry.register(tmp_path / "broken", "1m"))
    assert serving(Champions(registry, ("1m",), lookback=60, market=Market())) == {"1m": "1m-2"}


def test_interval_factors_reach_a_model_that_serves_already(registry: Registry) -> None:
    champions = Champions(registry, ("1m",), lookback=60, market=Market())
    assert champions.current()["1m"].interval_factors is None
    registry.set_interval_factors("1m-2", (1.5, *(1.0,) * 8))
    assert champions.current()["1m"].interval_factors == (1.5, *(1.0,) * 8)


def promote_reader_of_news(registry: Registry, folder: Path) -> None:
    save_random_artifact(folder, seed=3, reads_news=True)
    registry.promote(registry.register(folder, "1m"))


def test_for_a_champion_that_reads_news_the_newest_that_does_not_is_ready(
    registry: Registry, tmp_path: Path
) -> None:
    save_random_artifact(tmp_path / "never served", seed=4)
    registry.register(tmp_path / "never served", "1m")
    promote_reader_of_news(registry, tmp_path / "news")
    model = Champions(registry, ("1m",), lookback=60, market=Market()).current()["1m"]
    silent = model.serving(False, False)
    assert model.serving(True, False) == model
    assert silent is not None
    assert (model.artifact.version, silent.artifact.version) == ("1m-4", "1m-2")


def test_a_champion_that_reads_no_news_serves_without_them_itself(registry: Registry) -> None:
    model = Champions(registry, ("1m",), lookback=60, market=Market()).current()["1m"]
    assert model.serving(False, False) == model.serving(True, False) == model


def test_without_a_version_that_reads_no_news_nothing_serves_in_their_silence(
    mlflow_database: Path, tmp_path: Path
) -> None:
    shutil.copy(mlflow_database, tmp_path / "other.db")
    registry = Registry(f"sqlite:///{tmp_path}/other.db", tmp_path / "models")
    promote_reader_of_news(registry, tmp_path / "news")
    model = Champions(registry, ("1m",), lookback=60, market=Market()).current()["1m"]
    assert model.serving(True, False) == model
    assert model.serving(False, False) is None


def test_the_fallback_goes_when_its_champion_does(registry: Registry, tmp_path: Path) -> None:
    promote_reader_of_news(registry, tmp_path / "news")
    champions = Champions(registry, ("1m",), lookback=60, market=Market())
    assert champions.current()["1m"].substitutes
    registry.restore("1m-1")
    assert champions.current()["1m"].substitutes == ()


class Troubled(Registry):
    """A registry that can be away, and a clock that stands still until it is moved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/mlflow.db", folder / "models")
        self.place = folder
        self.trouble: Exception | None = None
        self.asked = 0
        self.now = 0.0

    def champion(self, timeframe: str) -> str | None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return super().champion(timeframe)

    def served(self, *before: Mapping[str, ServedModel]) -> Champions:
        champions = Champions(self, ("1m",), lookback=60, market=Market(), clock=lambda: self.now)
        for models in before:
            champions.begin(models)
        return champions


@pytest.fixture
def troubled(registry: Registry, tmp_path: Path) -> Troubled:
    return Troubled(tmp_path)


AWAY = RegistryUnavailable("locked")
NONE = ConfigurationError("file is not a database")


@pytest.mark.parametrize("trouble", [AWAY, NONE, OSError("I/O error"), KeyError("ours")])
def test_while_the_registry_is_away_the_champion_serves_on_and_the_log_says_so_once(
    troubled: Troubled, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    champions = troubled.served()
    troubled.set_interval_factors("1m-2", (1.5, *(1.0,) * 8))
    before = champions.current()
    troubled.trouble = trouble
    for _ in range(20):
        assert champions.current() == before
        troubled.now += 60
    assert champions.away_since > 0
    assert len([m for m in caplog.messages if "event=registry_away serving=1m-2" in m]) == 1
    assert troubled.asked < 10, "asks anew in each micro-batch"


def test_a_registry_that_is_back_is_heard_again(troubled: Troubled) -> None:
    champions = troubled.served()
    assert serving(champions) == {"1m": "1m-2"}
    troubled.trouble = AWAY
    champions.current()
    troubled.trouble = None
    troubled.restore("1m-1")
    troubled.now += 3600
    assert serving(champions) == {"1m": "1m-1"}
    assert champions.away_since == 0


def test_after_a_restart_what_served_before_serves_while_the_registry_is_away(
    troubled: Troubled,
) -> None:
    troubled.set_interval_factors("1m-2", (1.5, *(1.0,) * 8))
    before = troubled.served().current()
    kept = unsealed(sealed(models_to_json(before)))
    shutil.rmtree(troubled.place / "models")
    troubled.trouble = AWAY
    assert troubled.served(models_from_json(kept)).current() == before


@pytest.mark.parametrize("trouble", [AWAY, NONE])
def test_without_anything_to_serve_a_start_ends_with_the_registrys_trouble(
    troubled: Troubled, trouble: CandlecastError
) -> None:
    troubled.trouble = trouble
    with pytest.raises(type(trouble)):
        troubled.served({})


def test_a_registry_that_vanished_counts_as_away(troubled: Troubled) -> None:
    before = troubled.served().current()
    (troubled.place / "mlflow.db").unlink()
    champions = troubled.served(before)
    assert champions.current() == before
    assert champions.away_since > 0


def test_what_lost_its_champion_serves_on_and_keeps_no_other_from_being_taken(
    registry: Registry, mlflow_database: Path, tmp_path: Path
) -> None:
    save_random_artifact(tmp_path / "hours", seed=5, timeframe="1h")
    registry.promote(registry.register(tmp_path / "hours", "1h"))
    now = [0.0]
    champions = Champions(
        registry, ("1m", "1h"), lookback=60, market=Market(), clock=lambda: now[0]
    )
    assert serving(champions) == {"1m": "1m-2", "1h": "1h-1"}
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    assert serving(champions) == {"1m": "1m-2", "1h": "1h-1"}
    assert champions.away_since
    save_random_artifact(tmp_path / "seed9", seed=9)
    registry.promote(registry.register(tmp_path / "seed9", "1m"))
    now[0] = 60.0  # it is asked again
    assert serving(champions) == {"1m": "1m-1", "1h": "1h-1"}
    assert not champions.away_since


def test_an_answer_of_the_registry_goes_before_what_served_before(troubled: Troubled) -> None:
    before = troubled.served().current()
    troubled.restore("1m-1")
    assert serving(troubled.served(before)) == {"1m": "1m-1"}


def test_what_served_before_goes_before_the_predecessor_of_a_champion_that_is_rejected(
    troubled: Troubled, tmp_path: Path
) -> None:
    before = troubled.served().current()
    save_random_artifact(tmp_path / "seed3", 3)
    third = troubled.register(tmp_path / "seed3", "1m")
    troubled.promote("1m-1")
    troubled.promote(third)
    tamper(troubled, third)
    assert serving(troubled.served(before)) == {"1m": "1m-2"}


def test_a_question_that_hangs_keeps_no_micro_batch_waiting(
    troubled: Troubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.champions.ANSWER_S", 0.05)
    champions = troubled.served()
    before = champions.current()
    hangs = threading.Event()
    monkeypatch.setattr(troubled, "champion", lambda _: hangs.wait(60))
    assert champions.current() == before == champions.current()
    assert champions.away_since > 0
    hangs.set()


def test_while_nothing_serves_a_micro_batch_waits_for_the_first_champion(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.champions.ANSWER_S", 0.0)
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    registry = Troubled(tmp_path)
    champions = registry.served({})
    assert champions.current() == {}
    save_random_artifact(tmp_path / "artifact", seed=1)
    registry.promote(registry.register(tmp_path / "artifact", "1m"))
    assert serving(champions) == {"1m": "1m-1"}


def graph(kind: str, steps: int, features: int) -> bytes:
    """Graphs that load, and do not fit; `fits` does."""
    names = {"other input": "bars"}
    shape = {"one window only": [1, steps, features]}.get(kind, [None, steps, features])
    taken = helper.make_tensor_value_info(names.get(kind, "features"), TensorProto.FLOAT, shape)
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])
    value = np.nan if kind == "not a number" else 0.1
    constants = {
        "weights": np.full((features, 3), value, np.float32),
        "last": np.array([1], np.int64),
        "narrow": np.array([-1, 2 if kind == "raises" else 3], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", [taken.name, "last"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["product"]),
        helper.make_node("Reshape", ["product", "narrow"], ["narrowed"]),
        helper.make_node(
            "ReduceMean" if kind == "fewer rows" else "Identity",
            ["narrowed"],
            ["y"],
            **({"keepdims": 1} if kind == "fewer rows" else {}),
        ),
    ]
    inputs = [taken]
    if kind == "another input":
        inputs.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
        nodes.append(helper.make_node("Identity", ["more"], ["z"]))
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "made", inputs, [given], stored)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        ("fits", "1m-3"),
        ("other input", "1m-2"),
        ("another input", "1m-2"),
        ("one window only", "1m-2"),
        ("not a number", "1m-2"),
        ("raises", "1m-2"),
        ("fewer rows", "1m-2"),
    ],
)
def test_a_graph_that_loads_and_does_not_fit_is_rejected_before_it_serves(
    registry: Registry, tmp_path: Path, kind: str, served: str
) -> None:
    source = registry.folder("1m-2")
    manifest = read_manifest(source)
    onnx_bytes = graph(kind, steps=30, features=len(manifest.feature_names))
    files = {"model.onnx": onnx_bytes, "model.keras": b"none"}
    save_artifact(tmp_path / "made", manifest, files)
    registry.promote(registry.register(tmp_path / "made", "1m"))
    assert serving(Champions(registry, ("1m",), lookback=60, market=Market())) == {"1m": served}


@pytest.mark.parametrize("factors", ["[1.0]", '"wide"', "[NaN, 1, 1, 1, 1, 1, 1, 1, 1]"])
def test_interval_factors_that_do_not_fit_leave_the_model_serving_without(
    registry: Registry, factors: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry.tag("1m-2", "interval_factors", factors)
    champions = Champions(registry, ("1m",), lookback=60, market=Market())
    assert champions.current()["1m"].interval_factors is None
    champions.current()
    assert len([m for m in caplog.messages if "event=interval_factors_rejected" in m]) == 1


def test_a_model_registered_for_another_timeframe_does_not_serve(
    registry: Registry, tmp_path: Path
) -> None:
    save_random_artifact(tmp_path / "hours", seed=5, timeframe="1h")
    registry.promote(registry.register(tmp_path / "hours", "1m"))
    assert serving(Champions(registry, ("1m",), lookback=60, market=Market())) == {"1m": "1m-2"}


def test_a_model_is_refused_for_a_source_that_lacks_what_it_reads(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = {"quote_volume": "exchange:coinbase"}
    champions = Champions(registry, ("1m",), lookback=60, market=Market(), lacking=lacking)
    assert serving(champions) == {}
    (said, *_) = [line for line in caplog.messages if "event=model_rejected" in line]
    assert "1m-2 reads vwap_gap, which needs quote_volume" in said
    assert "exchange:coinbase does not tell it" in said
