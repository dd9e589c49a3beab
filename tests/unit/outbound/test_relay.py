"""What a smart host's answers mean (N11)."""

from __future__ import annotations

import pytest

from mailrelay.model.delivery import Accepted, Deferred, Refused, Stage
from mailrelay.model.reply import Reply, reply
from mailrelay.outbound.policy.relay import meaning, shuts_out


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (Stage.MAIL, reply(530, "5.7.0", "Authentication required")),
        (Stage.MAIL, reply(535, "5.7.8", "Bad credentials")),
        (Stage.MAIL, reply(550, "5.7.60", "Client does not have permissions to send as this sender")),
        (Stage.DOT, reply(550, "5.4.5", "Daily user sending limit exceeded")),
        (Stage.MAIL, Reply(550, None, ("You have reached your daily quota",))),
    ],
)
def test_fault_n11_what_refuses_us_puts_off_in_the_hosts_own_words(stage: Stage, said: Reply):
    found = meaning(Refused(reply=said, stage=stage))
    assert found == Deferred(reply=said, stage=Stage.AUTH)
    assert said.text in shuts_out([found])


def test_fault_n11_a_smart_host_without_the_tls_that_we_demand_takes_no_mail_and_it_is_said_where_it_failed():
    outcome = Deferred(reply=reply(451, "4.7.0", "the server does not offer STARTTLS"), stage=Stage.TLS)
    assert meaning(outcome) == outcome
    assert "STARTTLS" in shuts_out([outcome])


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(reply=reply(550, "5.1.1", "no such user"), stage=Stage.RCPT),
        Refused(reply=reply(552, "5.2.2", "the mailbox is over quota"), stage=Stage.RCPT),
        Refused(reply=reply(554, "5.6.0", "a virus"), stage=Stage.DOT),
        Refused(reply=reply(552, "5.3.4", "too large"), stage=Stage.MAIL, by_us=True),
        Deferred(reply=reply(450, "4.2.0", "greylisted"), stage=Stage.RCPT),
        Accepted(reply=reply(250, "2.0.0", "taken")),
    ],
)
def test_what_is_about_the_mail_or_its_recipient_stays_as_it_is(outcome: Accepted | Deferred | Refused):
    assert meaning(outcome) == outcome
    assert shuts_out([outcome]) == ""
