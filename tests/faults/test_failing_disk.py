"""A disk that fails, fills, forbids or crawls, at one system call after the other (D04, D05, D10): no 250 that is not kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.crash.strace import traced
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world

# A body over this size is a file, which the thread "beside" writes and syncs.
_SETTINGS = {"store": {"small_body": 4_000}, "filing": {"max_attempts": 30, "retry_after": 0.3}}
_SIZE = 6_000
_BEAT = 0.2
_LONGEST_BEAT = 2.0


async def _one(client: Client, channel: Channel) -> None:
    """One mail; no answer, or a daemon that is gone, is noted as such."""
    try:
        async with client.session("edge" if channel is Channel.DROPBOX else "submissions") as session:
            send = client.edge if channel is Channel.DROPBOX else client.submission
            await send(session, size=_SIZE)
    except (OSError, EOFError):
        pass


async def _meet(client: Client, channel: Channel, fault: tuple[str, str, str], *, fatal: bool) -> None:
    """One mail while a thread's call meets a fault: until the daemon has ended if it must not survive that, or has nothing to do."""
    one = client.relay
    thread, call, inject = fault

    def idle() -> bool:
        if one.exit_status is not None:
            return True
        try:
            return not one.in_flight()
        except OSError:
            if not fatal:
                raise
            return False  # it is coming down

    with traced(one, thread, call, inject) as trace:
        await _one(client, channel)
        await asyncio.to_thread(until, idle, "it is over, one way or the other")
    # Only now is it known that no more calls fail: the last may have been one that is made now and then, whoever sends what.
    if fatal and "INJECTED" in trace.read_text():
        await asyncio.to_thread(one.wait)


@pytest.mark.parametrize("channel", [Channel.DROPBOX, Channel.SUBMISSION])
async def test_fault_d04_eio_at_each_fsync_is_no_250_and_the_next_start_recovers(
    tmp_path: Path, channel: Channel
) -> None:
    ledger = Ledger()
    failed = 0
    with world() as around, relay(tmp_path, around, _SETTINGS) as one:
        client = Client(one, ledger)
        for thread, number in [("store-writer", n) for n in (1, 2, 3, 4)] + [("beside_0", n) for n in (1, 2)]:
            one.start()
            await asyncio.to_thread(until, lambda: not one.in_flight(), "what was left is done")
            await _meet(client, channel, (thread, "fsync,fdatasync", f"error=EIO:when={number}"), fatal=True)
            if number == 1:
                assert ledger.mails[-1].said is not Said.ACK, (thread, ledger.mails[-1])
                assert ledger.mails[-1].answer[:3] in ("451", ""), ledger.mails[-1]
            if one.exit_status is None:  # it made fewer calls this time
                assert one.stop() == 0
                continue
            assert one.exit_status == 1, one.log[-2000:]
            assert "Traceback" not in one.log.rpartition("daemon.stopped")[2]
            failed += 1
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    assert failed >= 4, "the faults were not met"
    check(ledger, books, around.sink)


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
async def test_fault_d05_no_space_at_the_nth_write_is_put_off_and_it_recovers(tmp_path: Path, error: str) -> None:
    """D10 too, for a disk that has become read-only."""
    ledger = Ledger()
    with world() as around, relay(tmp_path, around, _SETTINGS) as one:
        client = Client(one, ledger)
        points = [("store-writer", "pwrite64", n) for n in (1, 2, 5, 11)]
        points += [("beside_0", "fsync", 1), ("beside_0", "/^rename", 1), ("beside_0", "openat", 1)]
        for thread, call, number in points:
            if one.process is None or one.exit_status is not None:
                one.start()
            fatal = error == "EROFS" and thread == "store-writer"
            await _meet(client, Channel.DROPBOX, (thread, call, f"error={error}:when={number}"), fatal=fatal)
            if thread == "beside_0":
                assert one.exit_status is None, one.log[-2000:]
                assert list((one.data_folder / "blobs" / "incoming").iterdir()) == []
            if one.exit_status is None:
                before = ledger.count(Said.ACK)
                await _one(client, Channel.DROPBOX)
                assert ledger.count(Said.ACK) == before + 1, ledger.mails[-1]
            else:  # what a database says on a disk that writes no more is not believed: a clean start is
                assert error == "EROFS", one.log[-2000:]
                assert one.exit_status == 1
        refused = {mail.answer[:9] for mail in ledger.mails if mail.said is Said.NACK}
        if one.exit_status is not None:
            one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    assert refused, "the faults were not met"
    assert refused <= ({"452 4.3.1"} if error == "ENOSPC" else {"451 4.3.0", "452 4.3.1"}), refused
    check(ledger, books, around.sink)


@pytest.mark.parametrize("thread", ["store-writer", "beside_0"])
async def test_fault_d10_while_an_fsync_takes_ten_seconds_the_loop_goes_on_and_the_deadline_holds(
    tmp_path: Path, thread: str
) -> None:
    ledger = Ledger()
    settings = {**_SETTINGS, "inbound": {"data_timeout": 3.0}}
    with world() as around, relay(tmp_path, around, settings) as one:
        one.start()
        client = Client(one, ledger)
        beats: list[float] = []
        async with client.session("edge") as idle, client.session("edge") as session:

            async def beat() -> None:
                while True:
                    began = time.monotonic()
                    await idle.say("EHLO heart.test")
                    beats.append(time.monotonic() - began)
                    await asyncio.sleep(0.05)

            with traced(one, thread, "fsync,fdatasync", "delay_exit=10000000:when=1"):
                heart = asyncio.create_task(beat())
                began = time.monotonic()
                said = await client.edge(session, size=_SIZE)
                took = time.monotonic() - began
                # Only while it hangs: what follows is another disk.
                await asyncio.sleep(1)
                heart.cancel()
                await asyncio.gather(heart, return_exceptions=True)
                assert said is Said.NACK, ledger.mails
                assert ledger.mails[0].answer.startswith("451 4.3.0"), ledger.mails
                assert 2.5 < took < 8, took
                # A late beat may be another process's turn on the processor; a loop that waited for the disk has few beats at all, and
                # one of three seconds or more.
                assert len(beats) > 20, beats
                assert sorted(beats)[len(beats) // 2] < _BEAT, sorted(beats)
                assert max(beats) < _LONGEST_BEAT, sorted(beats)[-5:]
                await asyncio.sleep(7)
        before = ledger.count(Said.ACK)
        await _one(client, Channel.DROPBOX)
        assert ledger.count(Said.ACK) == before + 1, ledger.mails[-1]
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    # A commit that was under way when its time ran out cannot be called back: its client heard 451 and sends it again (S20).
    late = [mail for mail in ledger.mails if mail.said is Said.NACK and books.messages[mail.id]]
    assert len(late) <= (thread == "store-writer")
    ledger.mails = [mail for mail in ledger.mails if mail not in late]
    for mail in late:
        del books.messages[mail.id]
    check(ledger, books, around.sink)
