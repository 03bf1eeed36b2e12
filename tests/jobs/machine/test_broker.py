"""The broker's folder is where it was asked for, whatever it is called."""

from pathlib import Path

from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import wait_until


def test_a_broker_keeps_its_data_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "späte Daten, 100 % [neu] 'a' #1 ${x} \\n币"
    with EmbeddedBroker(folder) as broker:
        ensure_topics(broker.connection, {"bars": 1}, timeout_s=60)
        assert wait_until((folder / "log" / "bars-0").is_dir, timeout_s=60)
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]
