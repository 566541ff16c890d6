"""Ports that carry frames: a serial line, UDP, TCP. A host waits to be called; a device calls.

None of them keeps sound for later: what cannot be sent at once is dropped, as it would only come too late.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterable
from typing import Protocol

import serial

from hearable.errors import LinkError

MAX_READ_BYTES = 2**16
PEER_S = 2.0  # a UDP host serves one device until it has been silent for so long
_TCP_BUFFER_BYTES = 2**14


class Transport(Protocol):
    """A port that is open."""

    def receive(self, timeout_s: float) -> list[bytes]:
        """What has come, in pieces; waits up to ``timeout_s`` for the first.

        Raises:
            LinkError: the port is gone.
        """

    def send(self, packets: Iterable[bytes]) -> None:
        """Send packets, each of them whole frames.

        Raises:
            LinkError: the port is gone.
        """

    def close(self) -> None:
        """Close the port."""


def open_port(port: str, baud: int, listen: bool) -> Transport:
    """Open a port.

    Args:
        port: ``udp:[ADDRESS:]PORT``, ``tcp:[ADDRESS:]PORT``, or a serial port such as ``/dev/ttyACM0``. Without an
            address, a host listens on all of its own, a device calls this machine.
        baud: of a serial port.
        listen: the host's side of UDP and TCP.

    Raises:
        LinkError: no such port, it is in use, or nobody answers.
    """
    kind, _, rest = port.partition(":")
    try:
        if kind == "udp":
            return Udp(_address(port, rest, listen), listen)
        if kind == "tcp":
            return TcpHost(_address(port, rest, listen)) if listen else TcpDevice(_address(port, rest, listen))
        return SerialPort(port, baud)
    except (OSError, ValueError, OverflowError) as problem:  # serial.SerialException is an OSError
        raise LinkError(f"{port}: cannot be opened: {_reason(problem)}") from problem


def _address(port: str, text: str, listen: bool) -> tuple[str, int]:
    host, _, number = text.rpartition(":")
    if not number.isdecimal() or not 0 <= int(number) < 65536:
        raise LinkError(f"{port}: expected udp:PORT or udp:ADDRESS:PORT, or tcp, found {text!r} for a port")
    return host or ("" if listen else "127.0.0.1"), int(number)


def _reason(problem: Exception) -> str:
    number = getattr(problem, "errno", None)
    return os.strerror(number) if number else str(problem)


class SerialPort:
    """A serial line, a USB serial device, or a pseudo-terminal."""

    def __init__(self, port: str, baud: int):
        self._port = serial.Serial(port, baud, timeout=0, write_timeout=0.05, exclusive=True)

    def receive(self, timeout_s: float) -> list[bytes]:
        """See ``Transport``."""
        try:
            self._port.timeout = timeout_s
            first = self._port.read(1)
            self._port.timeout = 0
            return [first + self._port.read(MAX_READ_BYTES)] if first else []
        except (OSError, TypeError) as problem:  # TypeError: pyserial, when the device is unplugged while it waits
            raise LinkError(f"{self._port.name}: lost: {_reason(problem)}") from problem

    def send(self, packets: Iterable[bytes]) -> None:
        """See ``Transport``."""
        try:
            self._port.write(b"".join(packets))
        except serial.SerialTimeoutException:
            self._port.reset_output_buffer()  # a device that does not read: what waits is too late
        except OSError as problem:
            raise LinkError(f"{self._port.name}: lost: {_reason(problem)}") from problem

    def close(self) -> None:
        """See ``Transport``."""
        self._port.close()


class Udp:
    """Datagrams. A host serves whoever called it, one at a time, until PEER_S of silence."""

    def __init__(self, address: tuple[str, int], listen: bool):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._peer = None if listen else (socket.gethostbyname(address[0]), address[1])
        self._listen, self._heard = listen, 0.0
        try:
            self._socket.setblocking(False)
            self._socket.bind(address if listen else ("", 0))
        except BaseException:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """The number that the system gave, where 0 was asked for."""
        number: int = self._socket.getsockname()[1]
        return number

    def receive(self, timeout_s: float) -> list[bytes]:
        """See ``Transport``."""
        packets: list[bytes] = []
        select.select([self._socket], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while sum(map(len, packets)) < MAX_READ_BYTES:
                with contextlib.suppress(ConnectionError):  # an earlier datagram found nobody
                    packet, sender = self._socket.recvfrom(MAX_READ_BYTES)
                    if self._is_peer(sender):
                        packets.append(packet)
        return packets

    def _is_peer(self, sender: tuple[str, int]) -> bool:
        now = time.monotonic()
        if self._listen and (self._peer is None or now - self._heard > PEER_S):
            self._peer = sender
        if sender != self._peer:
            return False
        self._heard = now
        return True

    def send(self, packets: Iterable[bytes]) -> None:
        """See ``Transport``."""
        for packet in packets:
            if self._peer is not None:
                with contextlib.suppress(OSError):  # full, or nobody there: a lost datagram like any other
                    self._socket.sendto(packet, self._peer)

    def close(self) -> None:
        """See ``Transport``."""
        self._socket.close()


class _Tcp:
    """A connection, while there is one."""

    _connection: socket.socket | None = None

    def _adopt(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _TCP_BUFFER_BYTES)
        self._connection = connection

    def _read(self, connection: socket.socket) -> list[bytes]:
        """What has come.

        Raises:
            ConnectionError: the other side hung up.
        """
        data = b""
        with contextlib.suppress(BlockingIOError):
            while len(data) < 16 * MAX_READ_BYTES:
                piece = connection.recv(MAX_READ_BYTES)
                if not piece:
                    raise ConnectionResetError("the other side hung up")
                data += piece
        return [data]

    def _write(self, packets: Iterable[bytes]) -> None:
        for packet in packets:
            if self._connection is not None:
                with contextlib.suppress(BlockingIOError):  # what is cut short is a damaged frame
                    self._connection.send(packet)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        """See ``Transport``."""
        self._hang_up()


class TcpHost(_Tcp):
    """Accepts one device at a time; a new one takes over."""

    def __init__(self, address: tuple[str, int]):
        self._listener = socket.create_server(address)
        self._listener.setblocking(False)

    @property
    def port(self) -> int:
        """The number that the system gave, where 0 was asked for."""
        number: int = self._listener.getsockname()[1]
        return number

    def receive(self, timeout_s: float) -> list[bytes]:
        """See ``Transport``."""
        sockets = [s for s in (self._listener, self._connection) if s is not None]
        ready, _, _ = select.select(sockets, [], [], timeout_s)
        if self._listener in ready:
            self._hang_up()
            self._adopt(self._listener.accept()[0])
        elif ready and self._connection is not None:
            try:
                return self._read(self._connection)
            except ConnectionError:
                self._hang_up()
        return []

    def send(self, packets: Iterable[bytes]) -> None:
        """See ``Transport``."""
        try:
            self._write(packets)
        except ConnectionError:
            self._hang_up()

    def close(self) -> None:
        """See ``Transport``."""
        super().close()
        self._listener.close()


class TcpDevice(_Tcp):
    """Calls a host."""

    def __init__(self, address: tuple[str, int]):
        self._adopt(socket.create_connection(address, timeout=2.0))

    def receive(self, timeout_s: float) -> list[bytes]:
        """See ``Transport``."""
        assert self._connection is not None
        if not select.select([self._connection], [], [], timeout_s)[0]:
            return []
        try:
            return self._read(self._connection)
        except ConnectionError as problem:
            raise LinkError(f"tcp: lost: {_reason(problem)}") from problem

    def send(self, packets: Iterable[bytes]) -> None:
        """See ``Transport``."""
        try:
            self._write(packets)
        except ConnectionError as problem:
            raise LinkError(f"tcp: lost: {_reason(problem)}") from problem
