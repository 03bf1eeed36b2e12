"""Ingest's metrics are for this machine, unless a setting names another address."""

import socket

import pytest

from conf.ports import free_port
from conf.sections import Ingest
from ingest.metrics import IngestMetrics
from jobs.ingest_bars import serve_metrics


def test_metrics_are_answered_on_loopback_alone() -> None:
    port = free_port()
    serve_metrics(Ingest().metrics_host, port, IngestMetrics())
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with pytest.raises(ConnectionRefusedError):  # what listens everywhere answers there, too
        socket.create_connection(("127.0.0.2", port), timeout=10).close()
