"""Every Prometheus series, with its help and its closed set of labels (R2).

Names are `mailrelay_<stage>_<thing>_<unit>`. Labels come from enumerations only and start at zero, so that the first one of
anything is seen by an alert. What only a look into the store can say is not there before the first look.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mailrelay.model.envelope import Channel
from mailrelay.model.hit import By, HitKind
from mailrelay.model.message import Kind
from mailrelay.model.operation import Control
from mailrelay.model.sending import Scope
from mailrelay.model.suppression import SuppressionReason
from mailrelay.model.tls_report import PolicyType, ResultType

REGISTRY = CollectorRegistry(auto_describe=True)
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000, 16_000_000, 64_000_000)
CHANNELS = tuple(str(channel) for channel in Channel)


def _counter(name: str, help_text: str, **labels: Iterable[str]) -> Counter:
    series = Counter(name, help_text, tuple(labels), registry=REGISTRY)
    _zero(series, labels)
    return series


def _zero(series: Counter | Gauge | Histogram, labels: dict[str, Iterable[str]]) -> None:
    combinations: list[tuple[str, ...]] = [()]
    for values in labels.values():
        combinations = [(*head, value) for head in combinations for value in values]
    if labels:
        for combination in combinations:
            series.labels(*combination)


def _histogram(name: str, help_text: str, buckets: tuple[float, ...], **labels: Iterable[str]) -> Histogram:
    series = Histogram(name, help_text, tuple(labels), buckets=buckets, registry=REGISTRY)
    _zero(series, labels)
    return series


def _gauge(name: str, help_text: str, **labels: Iterable[str]) -> Gauge:
    series = Gauge(name, help_text, tuple(labels), registry=REGISTRY)
    _zero(series, labels)
    return series


_looked_up_names: set[str] = set()


def _looked_up(name: str, help_text: str, **labels: Iterable[str]) -> Gauge:
    """A gauge that says how the store stands, and nothing before somebody has looked: a nought would be a lie."""
    _looked_up_names.add(name)
    return _gauge(name, help_text, **labels)


class _Shown(Collector):
    """REGISTRY without what nobody knows yet."""

    looked = False

    def collect(self) -> Iterable[Metric]:
        return (one for one in REGISTRY.collect() if self.looked or one.name not in _looked_up_names)


_shown = _Shown()
SHOWN = CollectorRegistry()
"""What is told to whoever asks."""
SHOWN.register(_shown)


def looked() -> None:
    """The gauges of how the store stands have been set."""
    _shown.looked = True


LISTENERS = ("edge", "submission", "submissions")

sessions = _counter("mailrelay_smtp_sessions_total", "SMTP sessions begun", listener=LISTENERS)
sessions_open = _gauge("mailrelay_smtp_sessions_open", "SMTP sessions open now", listener=LISTENERS)
smtp_replies = _counter(
    "mailrelay_smtp_replies_total",
    "Replies to DATA, RCPT and MAIL by class",
    listener=LISTENERS,
    verb=("mail", "rcpt", "data", "auth"),
    klass=("2xx", "4xx", "5xx"),
)
accepted = _counter("mailrelay_accept_messages_total", "Mails made durable and acknowledged", channel=CHANNELS)
accepted_bytes = _histogram("mailrelay_accept_size_bytes", "Size of acknowledged mails", _SIZES, channel=CHANNELS)
accept_seconds = _histogram(
    "mailrelay_accept_duration_seconds",
    "From the final dot or the request to the answer",
    _LATENCY,
    channel=CHANNELS,
)
filed = _counter(
    "mailrelay_filing_arrivals_total",
    "Arrivals that left filing, by how",
    outcome=("filed", "unresolved", "dropped", "duplicate", "relayed"),
)
filing_errors = _counter("mailrelay_filing_errors_total", "Arrivals whose filing raised")
filing_seconds = _histogram("mailrelay_filing_duration_seconds", "From claim to filed", _LATENCY)
records_created = _counter("mailrelay_filing_records_created_total", "Records created for unknown correspondents")
attempts = _counter(
    "mailrelay_delivery_attempts_total",
    "Delivery attempts by outcome",
    outcome=("accepted", "deferred", "refused", "interrupted"),
)
delivery_ends = _counter(
    "mailrelay_delivery_ends_total",
    "Deliveries that ended, by state",
    state=("sent", "bounced", "expired", "failed", "suppressed", "cancelled"),
)
delivery_errors = _counter(
    "mailrelay_delivery_errors_total", "Delivery batches in which our own code raised; they are tried again"
)
delivery_seconds = _histogram("mailrelay_delivery_attempt_duration_seconds", "Length of a delivery attempt", _LATENCY)
controlled = _counter(
    "mailrelay_control_deliveries_total",
    "Deliveries that people held, released, retried, cancelled, bounced or confirmed",
    control=tuple(str(one) for one in Control),
)
ended_addresses = _gauge(
    "mailrelay_inbound_ended_addresses", "Addresses of records that were revoked or regenerated, which the door knows"
)
operations_standing = _gauge("mailrelay_control_operations_standing", "Control operations that have not ended")
notices = _counter(
    "mailrelay_notify_notices_total",
    "Recipients whose authors were owed a DSN, by what it says and whether it was queued",
    kind=("failed", "delayed", "relayed", "delivered"),
    outcome=("queued", "withheld"),
)
notice_errors = _counter(
    "mailrelay_notify_errors_total", "DSNs in whose making our own code raised; they are tried again"
)
connections = _counter(
    "mailrelay_delivery_connections_total",
    "Connections to next hops",
    tls=("verified", "unverified", "clear", "failed"),
)
tls_sessions = _counter(
    "mailrelay_tls_sessions_total",
    "Sessions with destinations by the policy that applied and how their TLS went",
    policy=tuple(str(one) for one in PolicyType),
    result=tuple(str(one) for one in ResultType),
)
tls_reports = _counter(
    "mailrelay_tls_reports_total",
    "Daily TLS reports by what became of them; a destination that wants none is counted once a day",
    outcome=("sent", "unwanted", "failed"),
)
tls_demands = _counter(
    "mailrelay_tls_demands_total",
    "Connections on which TLS was demanded, by whom (sts_testing: only to be counted), and whether the host met it",
    kind=("dane", "sts", "sts_testing", "own"),
    outcome=("met", "failed"),
)
sts_fetches = _counter(
    "mailrelay_tls_policy_fetches_total",
    "MTA-STS policies fetched, or why not",
    outcome=("fetched", "failed", "invalid", "untrusted"),
)
feedback = _counter(
    "mailrelay_feedback_mails_total",
    "Mails that came back or speak of mail of ours, by kind, and whether they were acted on",
    kind=tuple(str(kind) for kind in Kind),
    believed=("yes", "no"),
)
suppressions = _counter(
    "mailrelay_suppression_addresses_total",
    "Addresses suppressed because of an answer, by reason",
    reason=tuple(str(reason) for reason in SuppressionReason),
)
sender_blamed = _counter(
    "mailrelay_sender_blamed_total",
    "Answers that blame the sender; permanent ones suspend its job or domain",
    kind=("permanent", "transient"),
)
copies = _counter(
    "mailrelay_delivery_copies_total",
    "Copies that a next hop took, by what became of their tracking: its pixel and links, or why it has none",
    outcome=("off", "links", "plain", "signed", "unsafe", "failed"),
)
unsubscribable = _counter(
    "mailrelay_unsubscribe_copies_total",
    "Copies of mass mail made, by how one may unsubscribe in their header, and whether their text has the link",
    kind=("one_click", "mailto"),
    outcome=("link", "no_link"),
)
unsubscriptions = _counter(
    "mailrelay_unsubscription_addresses_total",
    "Addresses that unsubscribed, by how, and from what",
    kind=("one_click", "page", "mail", "report", "api"),
    scope=("list", "all"),
)
persons_erased = _counter("mailrelay_persons_erased_total", "Persons of whom all that was recorded was erased")
resubscriptions = _counter("mailrelay_resubscription_addresses_total", "Addresses whose owner wants mail again")
unsubscribe_requests = _counter(
    "mailrelay_unsubscribe_requests_total",
    "Requests for the unsubscribe page by what they were answered",
    outcome=("shown", "done", "refused", "unknown", "unavailable"),
)
quota_units = _counter(
    "mailrelay_quota_units_total",
    "Recipients that were counted in a quota",
    kind=("single", "mass"),
)
quota_refusals = _counter(
    "mailrelay_quota_refusals_total",
    "Mails that were refused because the day's quota had too little left",
    kind=("single", "mass"),
)
suspensions = _counter(
    "mailrelay_suspension_begun_total",
    "Jobs and domains that suspended themselves",
    scope=tuple(str(one) for one in Scope),
)
suspended = _looked_up(
    "mailrelay_suspension_standing",
    "Jobs, domains, destinations and sources suspended until somebody resumes them",
    scope=tuple(str(one) for one in Scope),
)
brake_warnings = _counter(
    "mailrelay_brake_warnings_total",
    "Warnings that a rate comes near its brake, one a day for each job or domain",
    measure=("bounces", "complaints", "unsubscribes"),
)
answers = _counter(
    "mailrelay_answer_requests_total",
    "Automatic answers that were asked for, by what became of them",
    outcome=(
        *("queued", "outgoing", "null_path", "automatic", "spam", "forged", "not_named", "ourselves", "suppressed"),
        *("already", "too_many"),
    ),
)
ways = _gauge(
    "mailrelay_shaping_ways",
    "Sites that mail has gone to, by how they stand; shut ones refuse us until somebody mends it",
    state=("flows", "slowed", "dead", "shut"),
)
next_hops_paused = _counter(
    "mailrelay_smart_hosts_shut_total",
    "Times that a smart host began to refuse our credentials or our mail; what goes to it waits",
)
way_pauses = _counter(
    "mailrelay_shaping_pauses_total",
    "Times that nothing went to a site for a while, by why",
    state=("slowed", "dead", "shut"),
)
queue_length = _looked_up(
    "mailrelay_queue_deliveries", "Deliveries in flight", state=("scheduled", "held", "queued", "sending")
)
queue_age = _looked_up("mailrelay_queue_oldest_due_seconds", "How long the oldest due delivery has been waiting")
queue_status_age = _looked_up(
    "mailrelay_queue_status_oldest_seconds",
    "How long the oldest due delivery of each status has been waiting",
    status=("scheduled", "held", "queued", "deferred", "sending"),
)
queue_held = _looked_up(
    "mailrelay_queue_held",
    "Deliveries that are held, by what holds them; only a person ends any but a suspension's",
    reason=("suspension", "hand", "poison", "unconfirmed"),
)
queue_destinations = _looked_up(
    "mailrelay_queue_destinations",
    "Recipient domains that something waits for, and those of them whose way takes nothing now; counted up to 10,000",
    state=("waiting", "parked"),
)
set_aside = _counter(
    "mailrelay_delivery_set_aside_total",
    "Deliveries that wait for a person: our own code failed on them, or they may have gone out already",
    reason=("poison", "unconfirmed"),
)
recovered = _counter(
    "mailrelay_lease_recovered_total", "Deliveries put back into the queue because the process that had them died"
)
asleep = _counter(
    "mailrelay_queue_asleep_total",
    "Destinations that nothing would have woken for their mail; anything but an upgrade's is a fault of ours",
)
arrivals_waiting = _looked_up(
    "mailrelay_filing_arrivals_waiting", "Arrivals not yet filed", state=("accepted", "working")
)
arrivals_age = _looked_up(
    "mailrelay_filing_oldest_waiting_seconds", "How long the oldest arrival has been waiting to be filed"
)
unresolved = _looked_up("mailrelay_unresolved_entries", "Entries of the unresolved list")
unaccounted = _looked_up(
    "mailrelay_unaccounted_messages",
    "Accepted minus ended minus in flight; anything but 0 is a fault",
    channel=CHANNELS,
)
_HIT = tuple(str(kind) for kind in HitKind)
hits_received = _counter(
    "mailrelay_hits_received_total", "Pixels loaded and links followed, with a good token", kind=_HIT
)
hits_strange = _counter(
    "mailrelay_hits_refused_total",
    "Requests to the public door that name nothing of ours: no token or a bad one, and how many of them were too many",
    reason=("token", "limit"),
)
hits_kept = _counter(
    "mailrelay_hits_kept_total",
    "Hits that were written down or counted, by what and by whom",
    kind=_HIT,
    by=tuple(str(by) for by in By),
)
hits_left = _counter(
    "mailrelay_hits_left_total",
    "Hits of which nothing is recorded: tracking is off or not agreed to, the reader refuses it, no such delivery, more than anybody "
    "reads, or the hit was taken before",
    reason=("off", "refused", "unknown", "too many", "again"),
)
hits_dropped = _counter(
    "mailrelay_hits_dropped_total",
    "Hits that were acknowledged and are lost: no room anywhere, damaged on the disk; or set aside, since our own code failed on them",
    reason=("full", "damaged", "failed"),
)
hits_waiting = _gauge("mailrelay_hits_waiting", "Hits that the store has not taken yet, in memory and on the disk")
hits_lag = _gauge("mailrelay_hits_oldest_waiting_seconds", "How long the oldest hit has been waiting for the store")
store_transactions = _counter(
    "mailrelay_store_transactions_total",
    "Transactions by kind and outcome",
    kind=("read", "write"),
    outcome=("ok", "error"),
)
store_commit_seconds = _histogram("mailrelay_store_commit_duration_seconds", "Length of a group commit", _LATENCY)
store_batch = _histogram(
    "mailrelay_store_commit_transactions",
    "Transactions made durable by one commit",
    (1, 2, 5, 10, 20, 50, 100, 200),
)
dns_questions = _counter(
    "mailrelay_dns_questions_total",
    "DNS questions by how they ended",
    status=("cached", "found", "empty", "no_name", "temporary"),
)
webhook_calls = _counter(
    "mailrelay_webhook_calls_total",
    "Requests to webhooks by how they ended, and events that were given up",
    outcome=("taken", "failed", "dead"),
)
webhook_seconds = _histogram("mailrelay_webhook_duration_seconds", "Length of a request to a webhook", _LATENCY)
webhooks_disabled = _counter(
    "mailrelay_webhook_disabled_total",
    "Webhooks that were disabled by themselves: their receiver is gone for good, or took nothing for days",
    reason=("gone", "failing"),
)
webhooks_failed = _gauge(
    "mailrelay_webhooks_failed",
    "Webhooks that were disabled by themselves, and neither enabled nor switched off by hand nor removed since",
)
webhook_waiting = _gauge("mailrelay_webhook_waiting", "Events that wait to be taken by webhooks that are active")
webhook_oldest = _gauge(
    "mailrelay_webhook_oldest_waiting_seconds", "How long the oldest event has waited for a webhook that is active"
)
http_requests = _counter(
    "mailrelay_http_requests_total",
    "HTTP requests by class of answer, but for pixels and links, which mailrelay_hits_received_total counts",
    klass=("2xx", "3xx", "4xx", "5xx"),
)
http_seconds = _histogram(
    "mailrelay_http_request_duration_seconds",
    "Length of an HTTP request that did not wait for anything to happen",
    _LATENCY,
)
http_waiting = _gauge(
    "mailrelay_http_waiting_requests",
    "HTTP requests that wait for something to happen: long polls of events, streams of notices",
    kind=("poll", "stream"),
)
http_waiting_limit = _gauge("mailrelay_http_waiting_limit", "How many HTTP requests may wait at a time")
http_waiting_refused = _counter(
    "mailrelay_http_waiting_refused_total",
    "HTTP requests that would have waited and were refused: too many of all callers wait, or of this one",
    reason=("all", "caller"),
)
service_restarts = _counter(
    "mailrelay_service_restarts_total",
    "Times a service raised and was started again",
    service=(
        *("listeners", "filing", "dispatcher", "notify", "release", "http", "ledger", "announcement", "hits"),
        "tls-reports",
        "webhooks",
        "webhook-queue",
        "facts",
        "attachments",
    ),
)
attachments = _counter(
    "mailrelay_attachment_filings_total",
    "Files of mail by how filing them to a record ended; full is without room, failed is tried again",
    outcome=("filed", "full", "failed"),
)
attachments_waiting = _looked_up("mailrelay_attachments_waiting", "Files of mail that wait to be filed to a record")
attachments_age = _looked_up(
    "mailrelay_attachments_oldest_waiting_seconds",
    "How long the oldest file of mail has waited to be filed to a record",
)
storage_full = _looked_up(
    "mailrelay_storage_full_organisations", "Organisations for whose files there is no room within their limit"
)
fact_events = _counter("mailrelay_facts_events_total", "Events that what records are found by has taken into account")
fact_lag = _looked_up("mailrelay_facts_behind_events", "Events that what records are found by does not tell of yet")
fact_seconds = _histogram(
    "mailrelay_facts_batch_duration_seconds", "Length of taking some events into account", _LATENCY
)
build_info = Gauge("mailrelay_build_info", "The running version", ("version",), registry=REGISTRY)
