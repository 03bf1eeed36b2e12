"""The settings: where their values stand, and which file or variable wins."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from conf.errors import ConfigurationError
from conf.section import SHIPPED_FILE, shipped_values
from conf.sections import Window
from conf.settings import SECRET_SETTINGS, Settings, home_variables, load_settings

SETTINGS = {
    (section, name): setting
    for section, kind in Settings.model_fields.items()
    for name, setting in kind.annotation.model_fields.items()  # type: ignore[union-attr]
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment to put settings into; they are read anew."""
    load_settings.cache_clear()
    yield monkeypatch
    load_settings.cache_clear()


def test_every_line_of_the_shipped_file_is_a_setting() -> None:
    in_file = {(section, name) for section, table in shipped_values().items() for name in table}
    assert in_file <= set(SETTINGS)
    assert len(in_file) > 70


def test_every_setting_stands_in_the_shipped_file_and_has_no_other_default() -> None:
    commented = {line.split("=")[0].strip("# ") for line in SHIPPED_FILE.read_text().splitlines()}
    for (section, name), setting in SETTINGS.items():
        if (section, name) in SECRET_SETTINGS:
            continue
        if name not in shipped_values()[section]:
            assert setting.default is None, f"{section}.{name} stands in no file"
            assert name in commented, f"{section}.{name} is not mentioned in the file"
        else:
            assert setting.default is PydanticUndefined, f"{section}.{name} has two defaults"


def test_a_file_of_ones_own_names_only_what_differs(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[window]\nshards = 7\n[ingest.calls_per]\nhour = 100\n")
    environ.setenv("CANDLECAST_CONFIG", str(file))
    settings = load_settings()
    assert (settings.window.shards, settings.window.lookback) == (7, 60)
    assert settings.ingest.calls_per == {"hour": 100}  # a table is one value
    assert settings.kafka.bars_topic == "bars"


def test_the_environment_wins_over_the_file(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[window]\nshards = 7\nlate_bars = 5\n")
    environ.setenv("CANDLECAST_CONFIG", str(file))
    environ.setenv("CANDLECAST_WINDOW__SHARDS", "9")
    assert load_settings().window == Window(shards=9, late_bars=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[window]\nshard = 7\n", "window.shard: there is no such setting"),
        ("[window]\nshards = 0\n", r"window.shards: .* \(found 0\)"),
        ("[windows]\nshards = 1\n", "windows: there is no such setting"),
        ("[Window]\nshards = 1\n", "Window: there is no such setting"),
        ("[window]\nshards = 1\n[WINDOW]\nshards = 1\n", "WINDOW: there is no such setting"),
        ("[ingest]\nsymbols = 'A-B'\n", r"""ingest.symbols: .*'\["BTC-USD","ETH-USD"\]'"""),
        ("[dashboard]\nrefresh_s = 2.0\n", "dashboard.refresh_s: take it out"),
        ("window = 3\n", "window: "),
        ("[window\n", r"mine\.toml can't be read"),
        (f"a = {'[' * 5_000}", r"mine\.toml can't be read"),
    ],
)
def test_a_wrong_line_of_a_file_is_named(
    environ: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    environ.setenv("CANDLECAST_CONFIG", str(tmp_path / "mine.toml"))
    with pytest.raises(ConfigurationError, match=message):
        load_settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CANDLECAST_KAFAK__BOOTSTRAP_SERVERS", "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS"),
        ("CANDLECAST_WINDOWS__SHARDS", "CANDLECAST_WINDOW__SHARDS"),
        ("CANDLECAST_WINDOW_SHARDS", "CANDLECAST_WINDOW__SHARDS"),
        ("candlecast_window_shards", "CANDLECAST_WINDOW__SHARDS"),
        ("CANDLECAST_CONFIG_FILE", "CANDLECAST_CONFIG"),
        ("CANDLECAST_", "CANDLECAST_SECTION__SETTING"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_one_that_is_like_it(
    environ: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    environ.setenv(name, "7")
    with pytest.raises(ConfigurationError, match=f"no such variable: {name}: expected {meant}$"):
        load_settings()


@pytest.mark.parametrize("name", ["CANDLECAST_SPARK_SECRET", "CANDLECAST_CONFIG", "CANDLECASTLE"])
def test_a_variable_that_is_ours_and_no_setting_passes(
    environ: pytest.MonkeyPatch, name: str
) -> None:
    before = load_settings()
    load_settings.cache_clear()
    environ.setenv(name, "")
    assert load_settings() == before


@pytest.mark.parametrize(
    ("name", "value", "example"),
    [
        ("INGEST__SYMBOLS", "BTC-USD,ETH-USD", '["BTC-USD","ETH-USD"]'),
        ("INGEST__SYMBOLS", "", '["BTC-USD","ETH-USD"]'),
        ("INGEST__SYMBOLS", "[" * 5_000, '["BTC-USD","ETH-USD"]'),
        ("INGEST__INTERVALS", '["1m"', '["1m"]'),
        ("MARKET__LEADERS", "BTC-USD", '["BTC-USD","ETH-USD"]'),
        ("TRAINING__HORIZONS", "1,5", "[1,5,15,30,60]"),
        ("INGEST__CALLS_PER", "second=20", '{"second":20,"minute":300}'),
    ],
)
def test_a_list_that_is_none_is_told_by_its_variable_and_how_it_is_written(
    environ: pytest.MonkeyPatch, name: str, value: str, example: str
) -> None:
    environ.setenv(f"CANDLECAST_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith(f"settings: {name.lower().replace('__', '.')}: ")
    assert f"such as '{example}' (found '{value[:190]}" in said
    assert said.endswith(f"in CANDLECAST_{name})")
    assert len(said) < 500


def test_a_section_that_is_none_is_told_by_its_variable(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("CANDLECAST_WINDOW", "shards=7")
    with pytest.raises(ConfigurationError, match=r"window: .*found CANDLECAST_WINDOW\)$"):
        load_settings()


NUMBERS = {
    place: setting
    for place, setting in SETTINGS.items()
    if setting.annotation in (int, float, int | None, float | None)
}


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e19", "1" + "0" * 400])
def test_a_number_that_nothing_can_count_with_is_refused_by_name(
    environ: pytest.MonkeyPatch, value: str
) -> None:
    unbounded = {
        ("training", "learning_rate"),
        ("intervals", "adapt_rate"),
        ("retrain", "min_skill"),
    }
    unbounded |= {("score", "psi_watch"), ("score", "psi_alarm")}
    assert len(NUMBERS) > 40
    for section, name in NUMBERS:
        if value == "1e19" and (section, name) in unbounded:
            continue
        environ.setenv(f"CANDLECAST_{section}__{name}".upper(), value)
        with pytest.raises(ConfigurationError, match=rf"settings: {section}\.{name}: "):
            load_settings()
        environ.delenv(f"CANDLECAST_{section}__{name}".upper())


@pytest.mark.parametrize(
    "topic", ["", ".", "..", "a b", "a/b", "a:b", "a\n", "é", "x" * 250, "bars,news"]
)
def test_a_name_that_kafka_gives_no_topic_is_refused(
    environ: pytest.MonkeyPatch, topic: str
) -> None:
    environ.setenv("CANDLECAST_KAFKA__NEWS_TOPIC", topic)
    with pytest.raises(ConfigurationError, match=r"kafka\.news_topic: must be a topic"):
        load_settings()


@pytest.mark.parametrize(
    "address",
    [
        *("", "example.org", "ftp://example.org", "localhost:80", "http://", "http://[", "//a"),
        *("http://a:b", "http://a:0", "https://a ", " https://a", "https://a/b c", "https:a"),
    ],
)
def test_an_address_of_a_source_that_is_none_is_refused_whatever_the_source(
    environ: pytest.MonkeyPatch, address: str
) -> None:
    environ.setenv("CANDLECAST_INGEST__BASE_URL", address)
    with pytest.raises(ConfigurationError, match=r"ingest\.base_url: must be an http"):
        load_settings()


TOPICS = [name for section, name in SETTINGS if name.endswith("_topic")]


@pytest.mark.parametrize(("role", "other"), combinations(TOPICS, 2))
def test_no_topic_has_two_roles(environ: pytest.MonkeyPatch, role: str, other: str) -> None:
    for name in (role, other):
        environ.setenv(f"CANDLECAST_KAFKA__{name}".upper(), "x.y")
    both = f"kafka.{other} and kafka.{role} are both 'x.y'"
    with pytest.raises(ConfigurationError, match=both):
        load_settings()
    # In names of metrics Kafka writes one for the other, and creates no second such topic.
    environ.setenv(f"CANDLECAST_KAFKA__{role}".upper(), "x_y")
    with pytest.raises(ConfigurationError, match=r"'x\.y' and 'x_y', too alike"):
        load_settings()


@pytest.mark.parametrize(
    "servers",
    ["", "kafka", "kafka:", ":9092", "kafka:abc", "kafka:0", "kafka:70000", "kafka:9092,", "[::1"],
)
def test_an_address_that_is_none_is_refused_before_anything_connects(
    environ: pytest.MonkeyPatch, servers: str
) -> None:
    environ.setenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS", servers)
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap_servers: .*HOST:PORT"):
        load_settings()


@pytest.mark.parametrize("servers", ["kafka_1:9092", "10.0.0.1:9093, b.example:9093", "[::1]:9092"])
def test_an_address_is_host_and_port_and_there_may_be_several(
    environ: pytest.MonkeyPatch, servers: str
) -> None:
    environ.setenv("CANDLECAST_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert load_settings().kafka.bootstrap_servers == servers


def test_a_file_that_is_missing_is_named(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("CANDLECAST_CONFIG", "/no/such/file.toml")
    with pytest.raises(ConfigurationError, match=r"/no/such/file\.toml does not exist"):
        load_settings()


@pytest.mark.parametrize(
    "horizons", ["[]", "[0]", "[-1]", "[1,5,5]", "[5,1]", "[1,100000]", "[1.5]", "1", "[null]"]
)
def test_horizons_that_do_not_ascend_from_one_on_are_refused_by_name(
    environ: pytest.MonkeyPatch, horizons: str
) -> None:
    environ.setenv("CANDLECAST_TRAINING__HORIZONS", horizons)
    with pytest.raises(ConfigurationError, match=r"training\.horizons"):
        load_settings()


def test_rejected_records_have_an_end_of_their_own_and_bars_have_none_unless_it_is_set(
    environ: pytest.MonkeyPatch,
) -> None:
    environ.setenv("CANDLECAST_KAFKA__REJECTED_TOPIC", "mine")
    assert load_settings().kafka.retention_s == {"mine": 30 * 86_400.0}
    load_settings.cache_clear()
    environ.setenv("CANDLECAST_KAFKA__RETENTION_DAYS", "90")
    kafka = load_settings().kafka
    assert kafka.retention_s[kafka.bars_topic] == 90 * 86_400.0
    assert kafka.retention_s["mine"] == 30 * 86_400.0


def test_one_variable_moves_all_that_is_kept(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[warehouse]\ndir = "elsewhere"\n')
    environ.setenv("CANDLECAST_CONFIG", str(file))
    environ.setenv("CANDLECAST_HOME", "/data/btc")
    environ.setenv("CANDLECAST_WAREHOUSE__REPORTS_DIR", "/srv/reports")
    settings = load_settings()
    assert settings.warehouse.dir == "/data/btc"
    assert settings.warehouse.checkpoint_dir == "/data/btc/_checkpoints"
    assert settings.warehouse.reports_dir == "/srv/reports"
    assert settings.registry.tracking_uri == "sqlite:////data/btc/mlflow.db"
    assert settings.registry.artifact_dir == "/data/btc/models"


def test_every_folder_that_has_a_default_moves(environ: pytest.MonkeyPatch) -> None:
    before = load_settings()
    for name, value in home_variables("elsewhere").items():
        environ.setenv(name, value)
    load_settings.cache_clear()
    after = load_settings()
    for section in ("warehouse", "registry"):
        old, new = (getattr(of, section).model_dump() for of in (before, after))
        assert {name for name in old if old[name] == new[name]} == set()
