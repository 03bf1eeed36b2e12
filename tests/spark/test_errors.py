"""What Spark's text means, also where it holds more than one reason."""

import pytest

from conf.errors import (
    BrokerUnavailable,
    CandlecastError,
    ConfigurationError,
    DataLoss,
    MissingPrerequisite,
    RetryLater,
)
from spark.errors import explain

STATE = "[CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] An error occurred during loading state."
QUERY = "=== Streaming Query ===\nIdentifier: predict\nLogical Plan: {}\n\nJVM stacktrace:\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (STATE, DataLoss),
        (f"{STATE} Caused by: java.io.IOException: No space left on device", MissingPrerequisite),
        (f"{STATE} Caused by: java.lang.OutOfMemoryError: Java heap space", CandlecastError),
        (f"{STATE} Caused by: AccessControlException: /checkpoints", ConfigurationError),
        (f"{STATE} Caused by: java.net.ConnectException: to namenode:8020", RetryLater),
        ("Incomplete log file ... Caused by: No space left on device", MissingPrerequisite),
        ("Some data may have been lost because they are not available in Kafka", DataLoss),
        ("org.apache.kafka.common.errors.TimeoutException: 60000 ms", BrokerUnavailable),
        ("common.errors.TopicAuthorizationException ... TimeoutException", ConfigurationError),
        ("common.errors.PolicyViolationException: no", ConfigurationError),
        ("common.errors.RecordTooLargeException: 2 MB", ConfigurationError),
        ("No resolvable bootstrap urls given in bootstrap.servers", RetryLater),
        ("KafkaException: Failed to create new KafkaAdminClient", BrokerUnavailable),
        ("java.net.UnknownHostException: kafka-2", RetryLater),
        ("", CandlecastError),
        ("TypeError: ours", CandlecastError),
    ],
)
def test_the_cause_counts_and_not_what_it_broke(text: str, kind: type) -> None:
    assert type(explain(text, "checkpoints")) is kind


@pytest.mark.parametrize("name", ["STATE_STORE_x", "KAFKA_DATA_LOSS", "conf.errors.DataLoss: x"])
def test_names_of_topics_and_folders_are_no_reasons(name: str) -> None:
    error = explain(f"TypeError: ours\n{QUERY.format(name)} at java.lang.Thread", "checkpoints")
    assert type(error) is CandlecastError
    assert "TypeError: ours" in str(error)
