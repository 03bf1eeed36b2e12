"""Apache Kafka itself, one node on a free loopback port, for demo, tests and benches."""

import os
import re
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from conf.errors import BrokerUnavailable, MissingPrerequisite
from conf.kafka import KafkaConnection, kafka_python_options
from conf.ports import free_ports, require_free
from jobs.machine.jars import JARS_DIR
from jobs.machine.java import BRIEF, java_command
from jobs.machine.processes import Program, wait_until

START_TIMEOUT_S: Final = 180
# 256 MB serve the largest replay here; the broker leans on the page cache, not on its heap.
HEAP: Final = "-Xmx256m"

CONFIG: Final = """\
process.roles=broker,controller
node.id=1
listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={protocol}://127.0.0.1:{port}
listener.security.protocol.map={protocol}:{protocol},CONTROLLER:PLAINTEXT
inter.broker.listener.name={protocol}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs=log
num.partitions=4
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
# After a crash the broker waits until its own former session has expired: 9 s by default.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
# Recorded bars carry old times; by event time the broker would delete them at once.
log.retention.ms=-1
log.message.timestamp.type=LogAppendTime
# A minute's bars come in one request for several partitions. With one thread a reader who asks for
# the newest offsets sees all or none; with more, 2 of 48 minutes came in two micro-batches.
num.io.threads=1
"""
# Kafka takes a list of folders, in which a comma can't be escaped: so it runs in its directory, and
# no path stands in the file. Java knows a path with umlauts by this locale alone.
ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8"}
LISTENERS: Final = re.compile(r"^listeners=.*:(\d+),CONTROLLER://.*:(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Secured:
    """What makes a broker ask who its clients are.

    client: how they answer, the address left out. server: more lines of server.properties, their
    values as Java reads them.
    scram: users as `kafka-storage format --add-scram` takes them.
    """

    client: KafkaConnection
    server: Mapping[str, str]
    scram: Sequence[str] = ()


class EmbeddedBroker:
    """A broker that lives as long as the `with` block; its data stay in `directory`.

    `start` on a directory that was used before serves the same topics again, on the same port.
    Open to everyone on this machine, unless `secured`. `options` are Java's, such as BRIEF. Raises
    MissingPrerequisite where Java or the jars are missing, ProgramEnded or BrokerUnavailable where
    the broker does not come up.
    """

    def __init__(
        self,
        directory: Path,
        secured: Secured | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.directory = directory.resolve()
        self._secured = secured or Secured(KafkaConnection(), {})
        self._options = options
        self._config = self.directory / "server.properties"
        ports = LISTENERS.findall(self._config.read_text()) if self._config.exists() else []
        known = ports[0] if ports else free_ports(2)
        self.port, self._controller_port = map(int, known)
        self._program: Program | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address."""
        return f"127.0.0.1:{self.port}"

    @property
    def connection(self) -> KafkaConnection:
        """How clients reach the broker."""
        address = {"bootstrap_servers": self.bootstrap_servers}
        return self._secured.client.model_copy(update=address)

    @property
    def program(self) -> Program:
        """The broker's process, once it was started."""
        assert self._program is not None
        return self._program

    @property
    def pid(self) -> int | None:
        """The process id while the broker runs."""
        return self._program.pid if self._program else None

    def start(self) -> Self:
        """Format the directory if it is new, start, and return once clients are answered."""
        if not any((JARS_DIR / "kafka").glob("kafka_*.jar")):
            raise MissingPrerequisite("Kafka's jars are missing; run `make install`")
        require_free(self.port, setting="the broker's port")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            CONFIG.format(
                protocol=self._secured.client.security_protocol,
                port=self.port,
                controller_port=self._controller_port,
            )
            + "".join(f"{name}={value}\n" for name, value in self._secured.server.items())
        )
        if not (self.directory / "log" / "meta.properties").exists():
            storage = ["kafka.tools.StorageTool", "format", "--standalone"]
            for user in self._secured.scram:
                storage += ["--add-scram", user]
            self._run_tool(*storage, "-t", str(uuid.uuid4()), "-c", self._config.name)
        command = [*self._java(self._options), "kafka.Kafka", self._config.name]
        log = self.directory / "broker.log"
        self._program = Program("kafka", command, ENVIRONMENT, log, self.directory).start()
        self._wait_until_ready(self._program)
        return self

    def stop(self) -> None:
        """End the broker in an orderly way; data stay."""
        self._end(Program.stop)

    def kill(self) -> None:
        """End the broker as a crash would."""
        self._end(Program.kill)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _java(self, options: Sequence[str]) -> list[str]:
        classpath = f"{Path('conf/broker').resolve()}{os.pathsep}{JARS_DIR.resolve()}/kafka/*"
        return [java_command(), HEAP, *options, "-cp", classpath]

    def _run_tool(self, *command: str) -> None:
        done = subprocess.run(
            [*self._java(BRIEF), *command],
            env={**os.environ, **ENVIRONMENT},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BrokerUnavailable(f"{command[0]} failed: {(done.stdout + done.stderr).strip()}")

    def _wait_until_ready(self, program: Program) -> None:
        last: list[KafkaError] = []

        def answers() -> bool:
            options = kafka_python_options(self.connection)
            try:
                with KafkaAdminClient(**options, bootstrap_timeout_ms=2_000) as admin:
                    admin.list_topics()
            except KafkaError as error:
                last[:] = [error]
                return False
            return True

        if not wait_until(answers, START_TIMEOUT_S, program.check):
            self.kill()
            raise BrokerUnavailable(
                f"Kafka did not answer on {self.bootstrap_servers} within "
                f"{START_TIMEOUT_S} s ({last[-1]}): see {program.log}"
            )

    def _end(self, how: Callable[[Program], None]) -> None:
        program, self._program = self._program, None
        if program is not None:
            how(program)
