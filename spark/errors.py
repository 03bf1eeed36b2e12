"""What a stream that ended means, and what to do about it.

Spark wraps the reason several times over; here its text becomes one of our errors, whose exit code
tells a supervisor whether to start the stream again (75) or to leave it to a person (65, 78).
"""

import re
from typing import Final

from conf import errors
from conf.errors import CandlecastError

NEW_CHECKPOINT: Final = (
    "restore {checkpoint_dir} from a backup, or move it away and start again: bars are then read "
    "from the topic's beginning, and the views count each row once"
)

# A pattern in Spark's text, the error it stands for, and what happened in our words. The first that
# is found counts. A full disk, memory, rights and networks come first: what they break looks
# damaged, and is not.
KNOWN: Final[tuple[tuple[str, type[CandlecastError], str], ...]] = (
    (
        errors.DISK_FULL,
        errors.MissingPrerequisite,
        "the disk is full: free some space and start again; the interrupted micro-batch is then "
        "written anew",
    ),
    (
        r"OutOfMemoryError|Cannot allocate memory|UNRELEASED_THREAD_ERROR",
        CandlecastError,
        "memory ran out, or a task of before has not ended: start again",
    ),
    (
        r"Permission denied|AccessControlException|Read-only file system",
        errors.ConfigurationError,
        "checkpoint or warehouse can't be read or written: check the rights of "
        "warehouse.checkpoint_dir and warehouse.dir",
    ),
    (
        r"common\.errors\.\w*(Authentication|Authorization|SslHandshake)\w*",
        errors.ConfigurationError,
        "Kafka refuses user, password, certificate or rights: check "
        "CANDLECAST_KAFKA__SASL_USERNAME, CANDLECAST_KAFKA__SASL_PASSWORD and the settings of "
        "[kafka], and start again",
    ),
    (
        r"common\.errors\.(RecordTooLarge|InvalidTopic|UnsupportedVersion|PolicyViolation|Invalid"
        r"ReplicationFactor|InvalidConfiguration)\w*[^\n]{0,200}",
        errors.ConfigurationError,
        "Kafka refuses what is asked of it, and will refuse it again: change the broker's settings "
        "or those of [kafka]",
    ),
    (
        r"java\.net\.(UnknownHost|Connect|NoRouteToHost|SocketTimeout)Exception[^\n]{0,200}"
        r"|No resolvable bootstrap urls[^\n]{0,100}",
        errors.RetryLater,
        "a machine that the stream needs does not answer",
    ),
    (
        r"Some data may have been lost|Partition \S+ offset was changed|KAFKA_DATA_LOSS",
        errors.DataLoss,
        "the topic no longer holds the bars at which the checkpoint stands (retention, or the "
        f"topic was made anew): {NEW_CHECKPOINT}",
    ),
    (
        r"MISSING_STATE_DIRECTORY|CANNOT_LOAD_STATE_STORE|STATE_STORE_\w+",
        errors.DataLoss,
        f"the checkpoint's window state is damaged: {NEW_CHECKPOINT}",
    ),
    (
        r"Incomplete log file|Failed to read log file|JsonEOFException|Unexpected end-of-input",
        errors.DataLoss,
        f"the checkpoint's log of offsets is damaged: {NEW_CHECKPOINT}",
    ),
    (
        r"common\.errors\.(Timeout|Disconnect|Network|UnknownTopicOr|NotLeader|LeaderNot)\w*"
        r"|Timed out waiting for a node|Failed to create new KafkaAdminClient",
        errors.BrokerUnavailable,
        "Kafka does not answer",
    ),
)
# What Spark tells of the query itself: names of topics and folders, which may hold any word.
_QUERY: Final = re.compile(r"=== Streaming Query ===.*?(?=JVM stacktrace|\Z)", re.DOTALL)
_OURS: Final = re.compile(r"conf\.errors\.(\w+): (.+)")


def explain(text: str, checkpoint_dir: str) -> CandlecastError:
    """The error of ours for what Spark says a query ended with.

    >>> explain("... Timed out waiting for a node assignment. ...", "cp").exit_code
    75
    >>> explain("conf.errors.DataLoss: the state is another's", "cp")
    DataLoss("the state is another's")
    """
    text = _QUERY.sub("", text)
    ours = _OURS.search(text)
    if ours and isinstance(getattr(errors, ours[1], None), type):
        error: CandlecastError = getattr(errors, ours[1])(ours[2])
        return error
    for pattern, kind, meaning in KNOWN:
        if found := re.search(pattern, text):
            return kind(f"{meaning.format(checkpoint_dir=checkpoint_dir)} (Spark: {found[0]})")
    return CandlecastError(f"the query ended: {next(iter(text.strip().splitlines()), 'no reason')}")
