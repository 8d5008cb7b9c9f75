"""A real Apache Kafka of one node, set up as Port's: SASL_SSL, SCRAM-SHA-512, and narrow rights for the agent."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.broker.child import Child
from tests.broker.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Account:
    """A SCRAM user of the broker."""

    username: str
    password: str


ADMIN = Account("admin", "admin-made-up-secret")
AGENT = Account("agent", "agent-made-up-secret")

_JVM = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
_HOST = "127.0.0.1"
_holders: list[socket.socket] = []
"""Of the ports that were given out; they are bound as long as this process lives."""
_FIRST_NODE = "--standalone"
_CLUSTER = [
    "--cluster-id=AAAAAAAAAAAAAAAAAAAAAA",
    *(f"--add-scram=SCRAM-SHA-512=[name={a.username},password={a.password}]" for a in (ADMIN, AGENT)),
]


class RealKafka:
    """One broker that is also its own controller; its records outlive `stop`, `kill` and `start`.

    ``libs`` holds Kafka's jars, ``home`` everything that this broker writes. The ports are chosen once, so
    that clients find it again after a restart. ``features`` (``name=level``) are those of an older Kafka, say.
    `close` must be called at the end. ``copies``: on how many brokers each topic is kept. ``key_file`` holds its
    key and certificate, which another server of this host may use as well; ``ca_file`` is what trusts them.
    """

    copies = 1

    def __init__(self, libs: Path, home: Path, *, features: Iterable[str] = ()) -> None:
        self.ca_file = home / "ca.pem"
        self.key_file = home / "broker.pem"
        self._home = home
        self._classpath = f"{libs}/*"
        self._port, self._controller_port = free_ports(2)
        self._properties = home / "server.properties"
        home.mkdir(parents=True, exist_ok=True)
        self._write_certificates()
        self._properties.write_text(self._server_properties())
        (home / "log4j2.properties").write_text(_LOG4J2)
        self._format(self._properties, _FIRST_NODE, *(f"--feature={feature}" for feature in features))
        self._child = Child(
            self._java("kafka.Kafka", str(self._properties)), home / "broker.log", {"LC_ALL": "C.UTF-8"}
        )

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the SASL_SSL listener."""
        return f"{_HOST}:{self._port}"

    def client_config(self, account: Account = ADMIN) -> dict[str, str | int | float | bool]:
        """What a confluent_kafka client needs to connect as ``account``."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": account.username,
            "sasl.password": account.password,
            "ssl.ca.location": str(self.ca_file),
            "socket.timeout.ms": 10_000,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }

    def start(self, timeout_s: float = 60) -> None:
        """Starts it and waits until a client can log in and see the broker."""
        self._child.start()
        # A client that keeps running through the start would wait out its reconnect backoff; a new one does not.
        wait_until(self._answers, timeout_s=timeout_s, what="Kafka to answer")

    def stop(self, timeout_s: float = 60) -> None:
        """An orderly shutdown."""
        self._child.stop(timeout_s)

    def kill(self) -> None:
        """Ends it without warning; `start` recovers its logs."""
        self._child.end()

    def freeze(self) -> None:
        """It answers nobody until `thaw`, and its connections stay open."""
        self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends `freeze`."""
        self._child.send(signal.SIGCONT)

    def close(self) -> None:
        """Ends it and removes its records. Idempotent."""
        self._child.end()
        shutil.rmtree(self._home, ignore_errors=True)

    def tail(self) -> str:
        """The last lines of its own log."""
        return self._child.tail()

    def _answers(self) -> bool:
        assert self._child.running, f"Kafka ended with {self._child.exit_code}:\n{self.tail()}"
        try:
            return bool(AdminClient(self.client_config()).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _java(self, main: str, *arguments: str) -> list[str]:
        java = shutil.which("java")
        assert java is not None, "java is missing; install a Java 17 runtime (.ci/run does it)"
        log4j = f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}"
        return [java, *_JVM, log4j, "-cp", self._classpath, main, *arguments]

    def _format(self, properties: Path, *options: str) -> None:
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", *_CLUSTER, *options, f"--config={properties}"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert(_HOST, "localhost")
        authority.cert_pem.write_to_path(str(self.ca_file))
        # Kafka reads PKCS #8 keys only.
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.key_file.write_bytes(pem + chain)

    def _server_properties(self) -> str:
        return _SERVER_PROPERTIES.format(
            host=_HOST,
            port=self._port,
            controller_port=self._controller_port,
            home=self._home,
            key_file=self.key_file,
            admin=ADMIN,
        )


def free_ports(count: int) -> list[int]:
    """Ports that nobody else gets while this process lives, also while whoever shall listen there is down.

    They lie below the range for outgoing connections. Each stays bound here, so that nobody who runs tests beside
    is given the same. Linux lets another process listen there all the same, as both sockets have SO_REUSEADDR
    (those of Kafka and of the agent do); on other systems the port is let go, and whoever is quick may snatch it.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(12_000, 30_000)  # noqa: S311 - a port is no secret
        holder = socket.socket()
        try:
            holder.bind((_HOST, port))  # without SO_REUSEADDR: it must have been free
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":
            _holders.append(holder)
        else:
            holder.close()
        ports.append(port)
    return ports


_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller_port}
inter.broker.listener.name=CLIENTS
log.dirs={home}/records

sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{admin.username}" password="{admin.password}";
ssl.keystore.type=PEM
ssl.keystore.location={key_file}
ssl.truststore.type=PEM
ssl.truststore.location={home}/ca.pem

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin.username};User:ANONYMOUS

# after a kill, the controller takes the broker back only once its old session is over
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000

auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=200
# for the group protocol "consumer", where members cannot choose
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
log.cleaner.dedupe.buffer.size=8388608
"""

_LOG4J2 = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{HH:mm:ss.SSS} %p %m (%c{1})%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
"""
