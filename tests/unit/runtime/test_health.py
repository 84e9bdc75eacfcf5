"""The health endpoint: right answers, and no harm from wrong questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.runtime import health, metrics
from orchestrator.runtime.health import CONNECTIONS, HealthServer, answer, split_address


@asynccontextmanager
async def serving(checks: dict[str, str]) -> AsyncIterator[HealthServer]:
    server = HealthServer("127.0.0.1:0", lambda: checks)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def exchange(server: HealthServer, sent: bytes, *, end: bool = False) -> bytes:
    host, port = split_address(server.address)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(sent)
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_health_and_readiness() -> None:
    checks = {"server": "", "scheduler": "starting"}
    async with serving(checks) as server:
        assert (await exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"\r\n\r\nok\n")
        unready = await exchange(server, b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
        assert unready.startswith(b"HTTP/1.1 503 ") and b"[+]server ok\n[-]scheduler: starting\n" in unready
        checks["scheduler"] = ""
        assert (await exchange(server, b"GET /readyz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_metrics() -> None:
    metrics.service_restarts.labels("of-this-test").inc()
    async with serving({}) as server:
        found = await exchange(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b'navarch_service_restarts_total{service="of-this-test"} 1.0' in found


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01 tls hello\r\n\r\n", 400),
        (b"GET /healthz HTTP/2\r\n\r\n", 400),
    ],
)
def test_wrong_questions(request_head: bytes, status: int) -> None:
    assert answer(request_head, dict).startswith(f"HTTP/1.1 {status} ".encode())


def test_head_has_no_body() -> None:
    told = answer(b"HEAD /healthz HTTP/1.1\r\n\r\n", dict)
    assert told.endswith(b"\r\n\r\n") and b"Content-Length: 3" in told


async def test_too_much_too_little_and_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.05)
    async with serving({}) as server:
        assert b" 431 " in await exchange(server, b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n")
        assert b" 400 " in await exchange(server, b"GET /healthz", end=True)
        assert await exchange(server, b"", end=True) == b""
        assert await exchange(server, b"GET /healthz") == b""
        assert b" 200 " in await exchange(server, b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_connections_are_bounded() -> None:
    async with serving({}) as server:
        host, port = split_address(server.address)
        idle = [await asyncio.open_connection(host, port) for _ in range(CONNECTIONS)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert await exchange(server, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
        for reader, writer in idle:
            writer.close()
            await reader.read()
        for _ in range(100):
            if b" 200 " in await exchange(server, b"GET /healthz HTTP/1.1\r\n\r\n"):
                break
        else:
            pytest.fail("the server did not recover")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:7446", ("127.0.0.1", 7446)), ("[::1]:1", ("::1", 1)), (":80", ("", 80))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", "7446", "localhost", "a:b", "a:70000", "::1:80"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="not an address with a port"):
        split_address(text)
