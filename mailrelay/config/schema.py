"""Every setting of the installation: type, default, unit, one sentence.

`config.load` reads the YAML file into these models; `config.document` writes `config/mailrelay.yaml` and
`docs/configuration.md` from them, so a setting is described here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mailrelay.config import form
from mailrelay.config.secret import Secret

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Sample = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(gt=0)]
DomainName = Annotated[str, AfterValidator(form.domain)]
HostName = Annotated[str, AfterValidator(form.host)]
IpAddress = Annotated[str, AfterValidator(form.address)]
Network = Annotated[str, AfterValidator(form.network)]
Nameserver = Annotated[str, AfterValidator(form.nameserver)]
MailAddress = Annotated[str, AfterValidator(form.mail_address)]
StoreUrl = Annotated[str, AfterValidator(form.store_url)]


SHORTEST_SECRET = 32
"""Characters of `secret`: the strength of a forged return path's signature (I10)."""


class ReadableFile:
    """Marks a path whose file the daemon reads: `config.load` refuses one that is not there."""


class Section(BaseModel):
    """A part of the configuration; unknown settings are errors, and nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, arbitrary_types_allowed=True)

    def problems(self) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) wherever settings of this section contradict one another."""
        yield from ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if found := tuple(self.problems()):
            sentence = "; ".join(f"{setting}: {because}" for setting, because in found)
            raise PydanticCustomError("contradiction", "{sentence}", {"sentence": sentence, "problems": found})
        return self


class ListenerKind(StrEnum):
    """What a listener is for."""

    EDGE = "edge"  # mail from the world: dropboxes, returns (port 25)
    SUBMISSION = "submission"  # STARTTLS and AUTH (port 587)
    SUBMISSIONS = "submissions"  # TLS from the first byte, AUTH (port 465)


class Listener(Section):
    """One socket that takes mail."""

    kind: ListenerKind = Field(description="edge, submission (STARTTLS) or submissions (implicit TLS).")
    host: IpAddress = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(description="TCP port; 0 lets the system choose.")


class Tls(Section):
    """The certificate that listeners show; read again on SIGHUP."""

    certificate: Annotated[Path, ReadableFile] | None = Field(
        None,
        description="PEM file with the chain; without it the daemon makes a self-signed one in the data folder.",
    )
    key: Annotated[Path, ReadableFile] | None = Field(None, description="PEM file with the private key.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """A certificate and its key come together."""
        if self.certificate and not self.key:
            yield "certificate", "needs key beside it"
        if self.key and not self.certificate:
            yield "key", "needs certificate beside it"


class Store(Section):
    """Where rows are kept."""

    url: StoreUrl = Field(
        "sqlite",
        description="`sqlite` for the embedded store in the data folder, or a `postgresql://` URL without password.",
    )
    password: Secret | None = Field(None, description="Password of the PostgreSQL user.")
    readers: Annotated[int, Field(ge=1, le=64)] = Field(4, description="Connections for reading.")
    writers: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="Connections for writing; PostgreSQL only, SQLite has one."
    )
    small_body: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        65_536,
        description="Bodies up to this many bytes travel in the row's own transaction; larger ones are files.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """SQLite has no password."""
        if self.password and self.url == "sqlite":
            yield "password", "the embedded store has none; it is for a postgresql:// url"


class Inbound(Section):
    """Taking mail in."""

    domains: tuple[DomainName, ...] = Field(("inbound.localhost",), description="Domains of the dropbox addresses.")
    bounce_domain: DomainName = Field(
        "bounce.localhost", description="Domain of the return paths; its MX must be this daemon."
    )
    feedback_address: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = Field(
        "feedback",
        description="Local part at bounce_domain that takes the complaints of feedback loops one has signed up for.",
    )
    complaint_sources: tuple[DomainName, ...] = Field(
        (),
        description="Signing domains (DKIM d=) of providers whose complaints count even where they hide our signed id.",
    )
    max_size: Bytes = Field(26_214_400, description="Largest mail taken on the edge, in bytes; announced in EHLO.")
    max_recipients: Annotated[int, Field(ge=1)] = Field(
        100, description="Recipients per mail on the edge; the rest get 452."
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(1000, description="Connections in all.")
    max_connections_per_ip: Annotated[int, Field(ge=1)] = Field(
        20, description="Connections from one address at a time."
    )
    max_connections_per_ip_per_minute: Annotated[int, Field(ge=1)] = Field(
        60, description="New connections from one address in a minute."
    )
    trusted_networks: tuple[Network, ...] = Field(
        (), description="Networks without the limits per address, such as a relay of one's own (CIDR)."
    )
    idle_timeout: Seconds = Field(300.0, description="Seconds without a command before 421.")
    session_timeout: Seconds = Field(3600.0, description="Longest life of a session in seconds.")
    data_timeout: Seconds = Field(60.0, description="Seconds from the final dot to 250; then 451 and nothing is kept.")
    min_rate: Annotated[int, Field(ge=0)] = Field(
        500, description="Bytes a second a client must send during DATA, after the first minute."
    )
    early_data: Literal["refuse", "allow"] = Field(
        "refuse", description="What to do with bytes that come before their turn (RFC 2920)."
    )
    max_hops: Annotated[int, Field(ge=1)] = Field(50, description="Received fields before a mail counts as looping.")
    verify_timeout: Seconds = Field(20.0, description="Seconds for SPF, DKIM and DMARC together.")
    tls_timeout: Seconds = Field(30.0, description="Seconds for a client's TLS handshake.")
    max_errors: Annotated[int, Field(ge=1)] = Field(
        20, description="Refused commands in a session before 421; from half of them on each is answered late."
    )
    error_delay: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Seconds that an answer is late by once a session made many errors."
    )
    max_useless: Annotated[int, Field(ge=1)] = Field(
        100,
        description="Commands such as NOOP, RSET or VRFY in a session before 421; a mail that is taken sets both counts back.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Returns and dropboxes are told apart by their domain."""
        if not self.domains:
            yield "domains", "needs at least one"
        if self.bounce_domain in self.domains:
            yield "bounce_domain", "is one of domains; return paths need a domain of their own"
        for index, name in enumerate(self.domains):
            if name in self.domains[:index]:
                yield f"domains[{index}]", "is listed twice"
        if self.idle_timeout > self.session_timeout:
            yield "idle_timeout", "is longer than session_timeout"


class Submission(Section):
    """SMTP submission (587, 465)."""

    max_size: Bytes = Field(
        43_000_000,
        description="Largest mail announced on submission; the limits of the plan are checked beside it.",
    )
    max_recipients: Annotated[int, Field(ge=1)] = Field(1000, description="Recipients per mail.")
    quotas: bool = Field(
        True, description="Hold organisations to the daily quotas of their plans; false: they may send without limit."
    )
    schedule_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        365, description="Days that mail may be scheduled ahead, by the API or by FUTURERELEASE (RFC 4865)."
    )
    password_rounds: Annotated[int, Field(ge=1)] = Field(
        14, description="Cost of hashing passwords: scrypt with N = 2 to this power."
    )
    max_failures: Annotated[int, Field(ge=1)] = Field(
        10,
        description="Wrong passwords from one address before logging in is put off; half are forgotten every five minutes.",
    )


class Filing(Section):
    """The workers that file arrivals."""

    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="Arrivals filed at the same time by this process; they share reads and commits."
    )
    lease: Seconds = Field(60.0, description="Seconds until the work of a dead process is taken up by another.")
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        3, description="Failures of our own code before an arrival is set aside."
    )
    retry_after: Seconds = Field(
        5.0, description="Seconds before an arrival that failed is tried again, growing threefold."
    )


class Route(StrEnum):
    """Where outgoing mail goes."""

    CATCH_ALL = "catch_all"
    SMART_HOST = "smart_host"
    MX = "mx"


class SmartHost(Section):
    """The next hop of all mail."""

    host: HostName = Field(description="Name or address.")
    port: Port = Field(587, description="TCP port.")
    tls: Literal["never", "opportunistic", "required", "implicit"] = Field(
        "required",
        description="never, opportunistic STARTTLS, STARTTLS required and verified, or TLS from the first byte.",
    )
    user: str | None = Field(None, description="User name for AUTH; never sent without verified TLS.")
    password: Secret | None = Field(None, description="Password for AUTH.")
    ca_file: Annotated[Path, ReadableFile] | None = Field(
        None, description="PEM file of extra certificate authorities to trust for this host."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Credentials are whole, and only for a verified host."""
        if self.port == 0:
            yield "port", "must be at least 1"
        if self.user and not self.password:
            yield "user", "needs password beside it"
        if self.password and not self.user:
            yield "password", "needs user beside it"
        if self.user and self.tls in ("never", "opportunistic"):
            yield "tls", "must be required or implicit: credentials are never sent without verified TLS"


class SiteLimits(Section):
    """What one MX site is given, whatever it would take: what is not said here is as for all."""

    site: HostName = Field(
        description="Registrable domain of its MX hosts, such as google.com for all whose mail Google takes; or the smart host."
    )
    connections: Annotated[int, Field(ge=1)] | None = Field(None, description="Connections at once.")
    messages_per_connection: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Messages before a connection is closed."
    )
    rate: Annotated[float, Field(ge=0)] | None = Field(None, description="Messages a minute; 0: no limit.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """A site is listed because something is different for it."""
        if self.connections is None and self.messages_per_connection is None and self.rate is None:
            yield "site", "needs connections, messages_per_connection or rate beside it"


class Shaping(Section):
    """How much goes to a site at once; it falls by itself when the site asks for it, and recovers."""

    start: Annotated[int, Field(ge=1)] = Field(
        2, description="Connections to a site that nothing is known of; one more for each that is used well."
    )
    rate: Annotated[float, Field(ge=0)] = Field(0.0, description="Messages a minute to one site; 0: no limit.")
    providers: bool = Field(
        True, description="Use the built-in ceilings for the sites of the big providers, where sites says nothing else."
    )
    sites: tuple[SiteLimits, ...] = Field((), description="Sites with limits of their own.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each site is listed once."""
        names = [one.site for one in self.sites]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield f"sites[{index}].site", "is listed twice"


class Source(Section):
    """An address of ours that mail leaves by, with the name that it says there."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] = Field(
        description="What it is called in attempts, limits and suspensions."
    )
    address: IpAddress | None = Field(
        None, description="Local IPv4 address; without it no IPv4 host is reached from it."
    )
    address6: IpAddress | None = Field(
        None, description="Local IPv6 address; without it no IPv6 host is reached from it."
    )
    helo: DomainName | None = Field(
        None, description="Name said in EHLO, to which the address resolves back; by default that of the installation."
    )
    domains: tuple[DomainName, ...] = Field(
        (), description="Sender domains whose mail leaves by it; empty: all that no other source names."
    )
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Its share of the mail among the sources that serve a domain."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """It has an address, each of its kind; `default` is what suspensions call the system's own address."""
        if self.name == "default":
            yield "name", "is what the system's own address is called; take another"
        if self.address is None and self.address6 is None:
            yield "name", "needs address or address6 beside it"
        if self.address is not None and ":" in self.address:
            yield "address", "is an IPv6 address; write it as address6"
        if self.address6 is not None and ":" not in self.address6:
            yield "address6", "is an IPv4 address; write it as address"
        for index, name in enumerate(self.domains):
            if name in self.domains[:index]:
                yield f"domains[{index}]", "is listed twice"


class Delivery(Section):
    """Sending mail out."""

    route: Route = Field(
        Route.CATCH_ALL,
        description="catch_all keeps outgoing mail on this machine; smart_host hands all to one host; mx goes to the recipients' own servers.",
    )
    catch_all: Path | None = Field(None, description="Folder of the catch-all; by default `sent` in the data folder.")
    smart_host: SmartHost | None = Field(None, description="The smart host, for route smart_host.")
    helo: DomainName | None = Field(None, description="Name said in EHLO; by default `hostname`.")
    port: Port = Field(25, description="Port of the recipients' servers.")
    allow_private: bool = Field(
        False, description="Deliver to loopback and private addresses too; for tests and closed networks."
    )
    smart_host_networks: tuple[Network, ...] = Field(
        (),
        description="Private networks in which smart hosts of users and domains, and their token endpoints, may stand all the same.",
    )
    ca_file: Annotated[Path, ReadableFile] | None = Field(
        None, description="PEM file of extra certificate authorities to trust."
    )
    own_addresses: tuple[IpAddress, ...] = Field(
        (),
        description="Addresses by which the world reaches this daemon beside those of its machine (NAT, load balancer): mail for a"
        " domain whose MX is one of them is refused as a loop.",
    )
    sources: tuple[Source, ...] = Field(
        (), description="Addresses that mail leaves by; empty, and for domains that none serves: the system chooses."
    )
    mta_sts: bool = Field(True, description="Hold to the MTA-STS policies of recipients' domains (RFC 8461).")
    dane: bool | None = Field(
        None,
        description="Hold to the TLSA records of recipients' servers (DANE, RFC 7672); needs `dns.trust_ad`, and by default follows it.",
    )
    tls_timeout: Seconds = Field(30.0, description="Seconds for a TLS handshake with a next hop.")
    connections: Annotated[int, Field(ge=1)] = Field(100, description="Connections in all.")
    connections_per_destination: Annotated[int, Field(ge=1)] = Field(
        5, description="Connections to one MX site, for sites that shaping says nothing else of."
    )
    messages_per_connection: Annotated[int, Field(ge=1)] = Field(
        100, description="Messages before a connection is closed."
    )
    shaping: Shaping = Field(Shaping(), description="How much goes to a site at once.")
    idle: Seconds = Field(10.0, description="Seconds a connection is kept for the next message.")
    lease: Seconds = Field(
        15.0, description="Seconds without a sign of life until the work of a process is taken up by others."
    )
    batch: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Deliveries claimed in one transaction.")
    max_faults: Annotated[int, Field(ge=1)] = Field(
        3, description="Attempts in a row that our own code may fail or die in before a delivery is set aside."
    )
    first_retry: Seconds = Field(300.0, description="Seconds before the second attempt.")
    longest_retry: Seconds = Field(14_400.0, description="Longest pause between attempts in seconds.")
    lifetime: Seconds = Field(432_000.0, description="Seconds until a delivery expires: 5 days.")
    delay_notice: Annotated[float, Field(ge=0)] = Field(
        14_400.0, description="Seconds after which the author is told once that a mail still waits; 0: never."
    )
    notice_wait: Annotated[float, Field(ge=0)] = Field(
        2.0,
        description="Seconds a DSN waits for other recipients of the same mail that fail, so that one tells of all.",
    )
    connect_timeout: Seconds = Field(
        30.0, description="Seconds to connect, and to read the banner of a host that is not the last to try."
    )
    command_timeout: Seconds = Field(300.0, description="Seconds for the answer to a command (RFC 5321 §4.5.3.2).")
    data_timeout: Seconds = Field(600.0, description="Seconds for the answer to the final dot.")
    transaction_timeout: Seconds = Field(
        3600.0, description="Longest time in seconds for one mail, however steadily the next hop crawls."
    )
    min_rate: Annotated[int, Field(ge=0)] = Field(
        1000, description="Bytes a second that a next hop must take during DATA, after the first minute."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What belongs to one route is given for that route only; pauses grow."""
        if self.route is Route.SMART_HOST and not self.smart_host:
            yield "route", "smart_host needs the setting delivery.smart_host"
        if self.smart_host and self.route is not Route.SMART_HOST:
            yield "smart_host", f"is not used by route {self.route}; set route to smart_host or take it out"
        if self.catch_all and self.route is not Route.CATCH_ALL:
            yield "catch_all", f"is not used by route {self.route}; set route to catch_all or take it out"
        if self.first_retry > self.longest_retry:
            yield "first_retry", "is longer than longest_retry"
        names = [one.name for one in self.sources]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield f"sources[{index}].name", "is used twice"


_WARN = "Share from which a warning is given."
_STOP = "Share from which the job or domain is suspended."
_SAMPLE = "Deliveries below which nothing is said."


class Brake(Section):
    """The levels of one measure, as shares from 0 to 1."""

    warn: Share
    stop: Share
    sample: Sample

    def problems(self) -> Iterator[tuple[str, str]]:
        """A warning comes before the stop."""
        if self.warn > self.stop:
            yield "warn", "is higher than stop"


class BounceBrake(Brake):
    """Bounces, hard and soft, of what came to an answer."""

    warn: Share = Field(0.05, description=_WARN)
    stop: Share = Field(0.10, description=_STOP)
    sample: Sample = Field(100, description=_SAMPLE)


class ComplaintBrake(Brake):
    """Complaints of what was sent."""

    warn: Share = Field(0.001, description=_WARN)
    stop: Share = Field(0.003, description=_STOP)
    sample: Sample = Field(1000, description=_SAMPLE)


class UnsubscribeBrake(Brake):
    """Unsubscriptions of what was sent."""

    warn: Share = Field(0.01, description=_WARN)
    stop: Share = Field(0.03, description=_STOP)
    sample: Sample = Field(500, description=_SAMPLE)


class BrakeLevels(Section):
    """When sending warns and stops by itself: the rates of a job over all its days, of a sending domain over seven."""

    bounces: BounceBrake = Field(BounceBrake(), description="Bounces, hard and soft, of what came to an answer.")
    complaints: ComplaintBrake = Field(ComplaintBrake(), description="Complaints of what was sent.")
    unsubscribes: UnsubscribeBrake = Field(UnsubscribeBrake(), description="Unsubscriptions of what was sent.")
    blames: Annotated[int, Field(ge=1)] = Field(
        1,
        description="Refusals within an hour that blame the sender (authentication, PTR, TLS, reputation) that suspend its job, or its"
        " domain. Those that come as mail suspend it only together with one in the dialogue, or from two recipient domains.",
    )


class Dkim(Section):
    """Signing."""

    domain: DomainName | None = Field(
        None,
        description="The installation's own signing domain, for mail of domains not yet proved; by default the first inbound domain.",
    )
    selector_prefix: Annotated[str, Field(pattern=r"^[a-z0-9]{1,20}$")] = Field(
        "mr", description="First letters of the selectors of new keys."
    )


class Dns(Section):
    """Asking DNS."""

    nameservers: tuple[Nameserver, ...] = Field(
        (), description="`address` or `address:port` of resolvers; empty takes the system's."
    )
    timeout: Seconds = Field(5.0, description="Seconds for one question, all servers together.")
    trust_ad: bool = Field(False, description="Believe the AD bit: only for a validating resolver on this machine.")
    cache_size: Annotated[int, Field(ge=0)] = Field(10_000, description="Answers kept.")


class TlsReports(Section):
    """Telling destinations that ask for it, once a day, how TLS with them went (TLS-RPT)."""

    enabled: bool = Field(True, description="Whether reports are sent; sessions are counted in any case.")
    contact: MailAddress | None = Field(
        None, description="Mail address for questions about the reports; by default postmaster at `dkim.domain`."
    )
    organisation: str | None = Field(None, description="Who reports, in words; by default `hostname`.")


class Http(Section):
    """The HTTP listeners."""

    host: IpAddress = Field("127.0.0.1", description="Address of the API.")
    port: Port = Field(8025, description="Port of the API.")
    ops_host: IpAddress = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    ops_port: Port = Field(9025, description="Port of /metrics, /healthz and /readyz.")
    socket: Path | None = Field(
        None,
        description="Unix socket that the command line talks to; by default `mailrelay.sock` in the data folder.",
    )
    max_body: Bytes = Field(64_000_000, description="Largest request body in bytes.")
    max_file: Bytes = Field(
        1_000_000_000,
        description="Largest file of records or suppressions in bytes; it goes over the disk, not memory.",
    )


class Public(Section):
    """What everybody may reach: pixels, links and unsubscribe pages (O9, O15)."""

    host: IpAddress = Field("127.0.0.1", description="Address of the public endpoints.")
    port: Port = Field(8026, description="Port of the public endpoints.")
    url: Annotated[str, AfterValidator(form.base_url)] = Field(
        "http://localhost:8026",
        description="Where people reach them, as it stands in mails; https in front of a proxy: unsubscribing by one click needs it.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Proxies whose X-Forwarded-For says who asks; by default nobody's."
    )


class Webhooks(Section):
    """Events sent to the CRM (R6)."""

    allow_private: tuple[Network, ...] = Field(
        (), description="Private networks that webhooks may reach all the same; by default none (SSRF)."
    )
    allow_http: bool = Field(False, description="Whether a webhook's URL may be http; otherwise https only.")
    lifetime: Seconds = Field(
        259_200.0, description="Seconds until a webhook that is not taken is a dead letter: 3 days."
    )
    timeout: Seconds = Field(15.0, description="Seconds a receiver has for its answer, from the dialling on.")
    disable_after: Seconds = Field(
        432_000.0, description="Seconds of nothing but failures after which a webhook is disabled by itself: 5 days."
    )


class Bucket(Section):
    """A bucket of an S3-compatible store; the extra `s3` has what it needs."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(description="Its name.")
    endpoint: Annotated[str, AfterValidator(form.base_url)] | None = Field(
        None, description="URL of the store, such as https://s3.example.org; by default Amazon's for the region."
    )
    region: str = Field("us-east-1", description="Region of the bucket.")
    access_key: Secret | None = Field(
        None, description="Id of the access key; without it the role that the machine has."
    )
    secret_key: Secret | None = Field(None, description="The secret access key.")
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*$")] = Field(
        "", description="What the names of all objects begin with, such as `mailrelay/`."
    )
    timeout: Seconds = Field(30.0, description="Seconds for one request.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """A key and its secret come together."""
        if self.access_key and not self.secret_key:
            yield "access_key", "needs secret_key beside it"
        if self.secret_key and not self.access_key:
            yield "secret_key", "needs access_key beside it"


class Attachments(Section):
    """The outside store for the attachments of organisations that want theirs there: a folder or a bucket (I17)."""

    folder: Path | None = Field(
        None, description="Folder of the outside store, such as one on a network share; it has to be there."
    )
    s3: Bucket | None = Field(None, description="The outside store as a bucket.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """One of them."""
        if self.folder and self.s3:
            yield "folder", "cannot stand beside s3; choose one"


class Log(Section):
    """The structured log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error.")
    json_lines: bool | None = Field(
        None, description="true: JSON lines; false: text; unset: text on a terminal, else JSON lines."
    )


class Config(Section):
    """The whole installation."""

    hostname: DomainName = Field("localhost", description="This daemon's own name: banner, EHLO, Received, Message-ID.")
    data: Path = Field(
        Path("data"),
        description="Folder of everything the daemon keeps; one daemon per folder. Relative to this file.",
    )
    listeners: tuple[Listener, ...] = Field(
        (
            Listener(kind=ListenerKind.EDGE, port=2525),
            Listener(kind=ListenerKind.SUBMISSION, port=2587),
            Listener(kind=ListenerKind.SUBMISSIONS, port=2465),
        ),
        description="Sockets that take mail.",
    )
    secret: Secret | None = Field(
        None,
        description="Key of all that the installation signs and seals, at least 32 characters; by default made once and kept in the "
        "data folder.",
    )
    former_secrets: tuple[Secret, ...] = Field(
        (),
        description="What `secret` was before, newest first: what was signed, sealed or hashed under these still holds.",
    )
    grace: Seconds = Field(20.0, description="Seconds that running work gets to end at a stop.")
    tls: Tls = Field(Tls(), description="Certificate.")
    store: Store = Field(Store(), description="Where rows are kept.")
    inbound: Inbound = Field(Inbound(), description="Taking mail in.")
    submission: Submission = Field(Submission(), description="SMTP submission.")
    filing: Filing = Field(Filing(), description="Filing arrivals.")
    delivery: Delivery = Field(Delivery(), description="Sending mail out.")
    brakes: BrakeLevels = Field(BrakeLevels(), description="When sending warns and stops by itself.")
    dkim: Dkim = Field(Dkim(), description="Signing.")
    dns: Dns = Field(Dns(), description="Asking DNS.")
    tls_reports: TlsReports = Field(TlsReports(), description="Daily reports on TLS with destinations.")
    http: Http = Field(Http(), description="HTTP.")
    public: Public = Field(Public(), description="What everybody may reach.")
    webhooks: Webhooks = Field(Webhooks(), description="Webhooks.")
    attachments: Attachments = Field(Attachments(), description="The outside store for attachments of records.")
    log: Log = Field(Log(), description="Log.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """No two sockets are the same, the secret is worth its name, and DANE has a resolver to believe."""
        if self.delivery.dane and not self.dns.trust_ad:
            yield (
                "delivery.dane",
                "needs dns.trust_ad: a resolver on this machine that validates DNSSEC, such as unbound, and whose word is taken",
            )
        sockets = [(f"listeners[{at}].port", one.host, one.port) for at, one in enumerate(self.listeners)]
        sockets += [
            ("http.port", self.http.host, self.http.port),
            ("http.ops_port", self.http.ops_host, self.http.ops_port),
            ("public.port", self.public.host, self.public.port),
        ]
        for at, (setting, host, port) in enumerate(sockets):
            for other, other_host, other_port in sockets[:at]:
                if port and port == other_port and form.overlap(host, other_host):
                    yield setting, f"{host} port {port} is taken by {other}"
                    break
        if self.secret and len(self.secret.reveal()) < SHORTEST_SECRET:
            yield "secret", f"must have at least {SHORTEST_SECRET} characters"
        for at, former in enumerate(self.former_secrets):
            if len(former.reveal()) < SHORTEST_SECRET:
                yield f"former_secrets[{at}]", f"must have at least {SHORTEST_SECRET} characters"
