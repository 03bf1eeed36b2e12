"""The note of which models serve since when: whole, or none."""

import re
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession

from model.artifact import load_artifact
from model.champions import Champions
from model.served import ServedModel
from stream.service_record import ServiceRecord
from tests.artifacts import save_random_artifact


class Serving:
    """Champions that a test appoints."""

    def __init__(self, models: dict[str, ServedModel]) -> None:
        self.models, self.before = models, dict[str, ServedModel]()

    def begin(self, before: dict[str, ServedModel]) -> None:
        self.before = before

    def current(self) -> dict[str, ServedModel]:
        return self.models

    def servable(self, models: dict[str, ServedModel]) -> dict[str, ServedModel]:
        return models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, ServedModel]]:
    found = []
    for seed in range(3):
        folder = tmp_path_factory.mktemp("artifact")
        save_random_artifact(folder, seed)
        artifact = load_artifact(folder, f"1m-{seed}")
        reader = ServedModel(artifact, (1.5, 1.0, 0.25), (ServedModel(artifact),))
        found.append({"1m": reader, "5m": ServedModel(artifact)})
    return found


def record(
    spark: SparkSession, file: Path, champions: Serving, repeated: int | None = None
) -> ServiceRecord:
    return ServiceRecord(spark, str(file), cast(Champions, champions), repeated)


def test_a_repeated_micro_batch_has_its_models_and_the_next_one_the_champions(
    spark: SparkSession, tmp_path: Path, models: list[dict[str, ServedModel]]
) -> None:
    file = tmp_path / "served.json"
    champions = Serving(models[0])
    first = record(spark, file, champions)
    assert first.models(4) == models[0]
    champions.models = models[1]
    assert first.models(5) == models[1]

    again = Serving(models[2])
    for _ in range(2):  # however often it comes
        assert record(spark, file, again, repeated=5).models(5) == models[1]
    restarted = record(spark, file, again, repeated=5)
    assert again.before == models[1]
    assert [restarted.models(5), restarted.models(6)] == [models[1], models[2]]
    assert record(spark, file, again, repeated=6).models(6) == models[2]


def test_without_a_repeated_micro_batch_the_champions_serve_at_once(
    spark: SparkSession, tmp_path: Path, models: list[dict[str, ServedModel]]
) -> None:
    file = tmp_path / "served.json"
    record(spark, file, Serving(models[0])).models(4)
    assert record(spark, file, Serving(models[1])).models(5) == models[1]


def test_an_unchanged_champion_is_noted_once(
    spark: SparkSession, tmp_path: Path, models: list[dict[str, ServedModel]]
) -> None:
    file = tmp_path / "served.json"
    first = record(spark, file, Serving(models[0]))
    first.models(0)
    file.write_text("as it was")
    first.models(1)
    assert file.read_text() == "as it was"


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"sha256": "", "content": "[]"}', "[" * 9999])
def test_a_note_that_is_damaged_counts_as_none(
    spark: SparkSession, tmp_path: Path, models: list[dict[str, ServedModel]], damage: str
) -> None:
    (tmp_path / "served.json").write_text(damage)
    champions = Serving(models[0])
    assert record(spark, tmp_path / "served.json", champions, repeated=3).models(3) == models[0]
    assert champions.before == {}
    # not even a half-width of a model may differ, with Hadoop's checksum or without
    text = (tmp_path / "served.json").read_text()
    changed = re.sub(r"(half_widths.*?)2\.0", r"\g<1>0.1", text, count=1)
    assert changed != text
    (tmp_path / "served.json").write_text(changed)
    record(spark, tmp_path / "served.json", champions)
    assert champions.before == {}
    (tmp_path / ".served.json.crc").unlink()
    record(spark, tmp_path / "served.json", champions)
    assert champions.before == {}
