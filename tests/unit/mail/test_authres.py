from __future__ import annotations

import authres
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.authres import field
from mailrelay.model.address import Address
from mailrelay.model.message import AuthVerdicts, DkimResult, Verdict


def verdicts(**changes: object) -> AuthVerdicts:
    given = {
        "spf": Verdict.PASS, "spf_domain": "example.org", "spf_reason": "", "dkim": (), "dmarc": Verdict.PASS,
        "dmarc_policy": "reject", "aligned": True,
    } | changes  # fmt: skip
    return AuthVerdicts(**given)  # type: ignore[arg-type]


ALICE = Address("alice", "example.org")


def test_the_field_says_each_method() -> None:
    written = field(
        "mx.test",
        verdicts(dkim=(DkimResult(Verdict.PASS, "example.org", "s1"), DkimResult(Verdict.FAIL, "list.test", "s2", "it was changed"))),
        mail_from=ALICE,
        header_sender=ALICE,
    )  # fmt: skip
    assert written.decode() == (
        "Authentication-Results: mx.test;\r\n"
        "\tspf=pass\r\n\t smtp.mailfrom=example.org;\r\n"
        "\tdkim=pass\r\n\t header.d=example.org\r\n\t header.s=s1;\r\n"
        '\tdkim=fail\r\n\t reason="it was changed"\r\n\t header.d=list.test\r\n\t header.s=s2;\r\n'
        "\tdmarc=pass (p=reject)\r\n\t header.from=example.org\r\n"
    )


def test_the_null_reverse_path_is_told_as_helo_and_no_signature_as_none() -> None:
    written = field("mx.test", verdicts(), mail_from=None, header_sender=None).decode()
    assert "smtp.helo=example.org" in written
    assert "dkim=none" in written
    assert "header.from" not in written


def test_another_library_reads_what_we_write() -> None:
    written = field("mx.test", verdicts(dkim=(DkimResult(Verdict.TEMPERROR, "example.org", "s1", 'a "b" \\ c'),)),
        mail_from=ALICE, header_sender=ALICE)  # fmt: skip
    read = authres.AuthenticationResultsHeader.parse(written.decode().replace("\r\n", ""))
    assert read.authserv_id == "mx.test"
    assert [(one.method, one.result) for one in read.results] == [
        ("spf", "pass"),
        ("dkim", "temperror"),
        ("dmarc", "pass"),
    ]


@given(domain=st.text(), reason=st.text(), selector=st.text())
def test_fault_s25_nothing_a_stranger_wrote_can_break_the_field(domain: str, reason: str, selector: str) -> None:
    hostile = verdicts(
        spf=Verdict.FAIL, spf_domain=domain, spf_reason=reason,
        dkim=(DkimResult(Verdict.FAIL, domain, selector, reason),),
    )  # fmt: skip
    written = field("mx.test", hostile, mail_from=Address("a", domain), header_sender=Address("a", domain))
    assert written.endswith(b"\r\n")
    for line in written[:-2].split(b"\r\n"):
        assert b"\r" not in line
        assert b"\n" not in line
        assert len(line) <= 998
    assert all(line.startswith(b"\t") for line in written[:-2].split(b"\r\n")[1:])
