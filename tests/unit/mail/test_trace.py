"""Trace fields: ours is harmless, loops are seen, forgeries go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailrelay.mail import trace
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.address import Address

NOW = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)


def ours(helo="mx.example", peer_ip="192.0.2.1", **more):
    return trace.received(
        helo=helo, peer_ip=peer_ip, by="in.ours.example", protocol="ESMTPS", queue_id="Q1", at=NOW, **more
    )


def test_received_says_who_when_and_how():
    assert ours(tls="TLSv1.3 TLS_AES_256_GCM_SHA384", recipient=Address("bcc-x", "in.ours.example")) == (
        b"Received: from mx.example ([192.0.2.1])\r\n by in.ours.example with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        b" id Q1\r\n for <bcc-x@in.ours.example>;\r\n Mon, 02 Mar 2026 09:15:00 +0000\r\n"
    )
    assert b"([IPv6:2001:db8::1])" in ours(peer_ip="2001:db8::1")


@pytest.mark.parametrize(
    ("helo", "shown"),
    [
        ("x\r\nBcc: eve@evil.example", b"x??Bcc:?eve?evil.example"),
        ("<script>alert(1)</script>", b"?script?alert?1???script?"),
        ("x" * 300, b"x" * 100),
        ("[::ffff:127.0.0.1]", b"[::ffff:127.0.0.1]"),
        ("a (by evil) b; now", b"a??by?evil??b??now"),
        ("\u202egnp", b"?gnp"),
        ("", b"unknown"),
    ],
)
def test_fault_s25_a_strangers_helo_does_no_harm(helo, shown):
    raw = ours(helo=helo)
    assert raw.startswith(b"Received: from " + shown + b" ([192.0.2.1])\r\n")
    assert len(HeaderBlock.parse(raw + b"\r\n").fields) == 1
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))


def test_a_recipient_that_would_break_the_line_is_left_out():
    assert len(HeaderBlock.parse(ours(recipient=Address("a\r\nb", "x.example")) + b"\r\n").fields) == 1


def test_fault_s23_too_many_hops_and_a_delivered_to_of_ours_are_loops():
    home = Address("bcc-x", "in.ours.example")
    assert trace.loop(HeaderBlock.parse(b"Received: x\r\n" * 50 + b"\r\n"), [home]) == ""
    assert "60 hosts" in trace.loop(HeaderBlock.parse(b"Received: x\r\n" * 60 + b"\r\n"), [home])
    for value in (b"bcc-x@in.ours.example", b" <BCC-X@IN.ours.example> "):
        assert "already delivered" in trace.loop(HeaderBlock.parse(b"Delivered-To: " + value + b"\r\n\r\n"), [home])
    assert trace.loop(HeaderBlock.parse(b"Delivered-To: other@in.ours.example\r\n\r\n"), [home]) == ""


FORGED = (
    b"Received: kept\r\nAuthentication-Results: in.ours.example; spf=pass\r\nauthentication-results: (x) IN.OURS.example. 1;\r\n dkim=pass\r\n"
    b'Authentication-Results: "in.ours.example"; dmarc=pass\r\nAuthentication-Results: other.example; spf=fail\r\n'
    b"Authentication-Results: ;\r\nX-Mailrelay-User: admin\r\nx-mailrelay-x: y\r\nX-Mailer: kept\r\nSubject: kept\r\n\r\nbody"
)


def test_fault_s24_what_only_we_may_say_is_removed_and_nothing_else():
    block = trace.without_forged(HeaderBlock.parse(FORGED), authserv_id="in.ours.example")
    assert (
        block.join(FORGED)
        == b"Received: kept\r\nAuthentication-Results: other.example; spf=fail\r\nX-Mailer: kept\r\nSubject: kept\r\n\r\nbody"
    )


def test_a_clean_mail_is_not_touched():
    block = HeaderBlock.parse(b"Subject: x\r\n\r\n")
    assert trace.without_forged(block, authserv_id="in.ours.example") is block
