"""`mail/ses.py`: what Amazon SES tells by SNS, in whatever shape the mail has left the JSON (I10)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import arf, bounce, message, ses
from mailrelay.model.feedback import Action, Category
from mailrelay.model.message import Kind

HEAD = "From: SES <no-reply@sns.amazonaws.com>\nTo: us@crm.example\nSubject: AWS Notification Message\n\n"
FOOT = "\n\n--\nIf you wish to stop receiving notifications from this topic, follow the link.\n"
COMPLAINT = {
    "notificationType": "Complaint",
    "complaint": {
        "complainedRecipients": [{"emailAddress": "ann@shop.example"}],
        "userAgent": "Provider/1.0",
        "complaintFeedbackType": "abuse",
    },
}


def bounced(kind: str, subtype: str, **recipient: str) -> dict[str, object]:
    one = {"emailAddress": "ann@shop.example", **recipient}
    return {
        "notificationType": "Bounce",
        "bounce": {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [one]},
    }


def classify(told: object):
    return bounce.classify(message.parse((HEAD + json.dumps(told) + FOOT).encode()))


def test_a_complaint_is_one():
    report = classify(COMPLAINT)
    assert report is not None
    assert report.kind is Kind.FEEDBACK
    assert [(one.recipient, one.diagnostic, one.hard) for one in report.recipients] == [
        ("ann@shop.example", "abuse", False)
    ]
    complaint = arf.read(message.parse((HEAD + json.dumps(COMPLAINT)).encode()))
    assert complaint == arf.Complaint("abuse", ("ann@shop.example",), "", "Provider/1.0")


def test_a_complaint_without_a_type_is_abuse():
    told = {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "ann@shop.example"}]}}
    report = classify(told)
    assert report is not None
    assert [one.diagnostic for one in report.recipients] == ["abuse"]


@pytest.mark.parametrize(
    ("told", "status", "hard"),
    [
        (bounced("Permanent", "General", status="5.1.1", diagnosticCode="smtp; 550 5.1.1 user unknown", action="failed"), "5.1.1", True),
        (bounced("Permanent", "NoEmail"), "5.1.1", True),
        (bounced("Transient", "MailboxFull"), "4.2.2", False),
        (bounced("Transient", "MessageTooLarge"), "4.3.4", False),
        (bounced("Undetermined", "Undetermined"), "5.0.0", False),
    ],
)  # fmt: skip
def test_a_bounce_without_a_word_of_the_remote_host_has_a_status_all_the_same(told, status, hard):
    report = classify(told)
    assert report is not None
    assert [(one.recipient, str(one.status), one.hard) for one in report.recipients] == [
        ("ann@shop.example", status, hard)
    ]


def test_delays_and_deliveries_are_told_apart():
    delay = {
        "eventType": "DeliveryDelay",
        "deliveryDelay": {
            "delayType": "MailboxFull",
            "delayedRecipients": [{"emailAddress": "ann@shop.example", "status": "4.2.2", "diagnosticCode": "smtp; 452 full"}],
        },
    }  # fmt: skip
    delivery = {
        "notificationType": "Delivery",
        "delivery": {"recipients": ["ann@shop.example"], "smtpResponse": "250 ok"},
    }
    for told, kind, action, category in (
        (delay, Kind.DELAY, Action.DELAYED, Category.MAILBOX_FULL),
        (delivery, Kind.DELIVERED, Action.DELIVERED, Category.DELIVERED),
    ):
        report = classify(told)
        assert report is not None
        assert report.kind is kind
        assert [(one.recipient, one.action, one.category) for one in report.recipients] == [
            ("ann@shop.example", action, category)
        ]


@pytest.mark.parametrize("cut", ["!\n ", "\n ", "\n"])
def test_lines_cut_within_a_word_are_joined(cut):
    text = json.dumps(COMPLAINT)
    at = text.index("shop.example")
    found = ses.read(message.parse((HEAD + text[:at] + cut + text[at:] + FOOT).encode()))
    assert found is not None
    assert [one.recipient for one in found.recipients] == ["ann@shop.example"]


@pytest.mark.parametrize(
    "text",
    [json.dumps(COMPLAINT, indent=2), json.dumps({"Type": "Notification", "Message": json.dumps(COMPLAINT)})],
    ids=["indented", "in SNS's envelope"],
)
def test_the_forms_in_which_it_comes(text):
    found = ses.read(message.parse((HEAD + text).encode()))
    assert found is not None
    assert found.complaint == "abuse"


@pytest.mark.parametrize(
    "text",
    ["> " + json.dumps(COMPLAINT), "I saw a notificationType", json.dumps({"eventType": "Open"}), '{"notificationType": [', "{" * 100_000],
)  # fmt: skip
def test_what_tells_of_no_recipient_is_none(text):
    assert ses.read(message.parse((HEAD + text + '"notificationType"').encode())) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["Bounce", "Complaint", "Delivery", "a@b.example"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["notificationType", "bounce", "complaint", "delivery", "recipients", "bouncedRecipients", "emailAddress"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_shape_is_read_without_an_error(told):
    bounce.classify(message.parse((HEAD + json.dumps(told) + '"notificationType"').encode()))
