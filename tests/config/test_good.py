"""Configurations that load, and what comes out of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.config.document import example
from mailrelay.config.kind import kind_of
from mailrelay.config.load import load, loads
from mailrelay.config.schema import Config, Section
from mailrelay.errors import ConfigError

_SHIPPED = Path(__file__).parents[2] / "config"


def _read(text: str, folder: Path = Path("/etc/mailrelay"), **environ: str) -> Config:
    return loads(text, "test.yaml", folder=folder, environ=environ)


def _default() -> Config:
    return Config(data=Path("/etc/mailrelay/data"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "tls:\nstore:\n"])
def test_a_file_without_settings_is_the_default(text: str) -> None:
    assert _read(text) == _default()


def test_the_example_file_changes_nothing_until_a_setting_is_uncommented() -> None:
    assert _read(example()) == _default()


def test_the_example_file_uncommented_is_the_default_too() -> None:
    everything = re.sub(r"^( *)#(?! )", r"\1", example(), flags=re.MULTILINE)
    assert everything != example()
    assert _read(everything) == _default()


def test_the_example_file_names_every_setting() -> None:
    def names(model: type[Section]) -> set[str]:
        inner = [kind.section for field in model.model_fields.values() if (kind := kind_of(field)).section]
        return set(model.model_fields).union(*(names(section) for section in inner))

    missing = [name for name in names(Config) if not re.search(rf"\b{name}\b", example())]
    assert not missing


@pytest.mark.parametrize("name", ["minimal.yaml", "docker.yaml"])
def test_shipped_files_load(name: str) -> None:
    config = load(_SHIPPED / name, environ={})
    assert config.delivery.route == "catch_all", "out of the box nothing leaves the machine"


def test_the_shipped_file_for_postgresql_loads_where_its_files_are(tmp_path: Path) -> None:
    text = (_SHIPPED / "postgres.yaml").read_text(encoding="utf-8").replace("/etc/mailrelay/", "")
    (tmp_path / "tls").mkdir()
    for name in ("tls/fullchain.pem", "tls/privkey.pem", "secret", "smart_host"):
        (tmp_path / name).write_text("k" * 40)
        (tmp_path / name).chmod(0o600)
    config = _read(text, tmp_path, MAILRELAY_DB_PASSWORD="p")
    assert config.store.url.startswith("postgresql://")
    assert config.tls.certificate == tmp_path / "tls/fullchain.pem"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "mailrelay.yaml").write_text("data: ../state\ndelivery: {catch_all: sent}\n")
    config = load(tmp_path / "mailrelay.yaml", environ={})
    assert config.data == tmp_path / "../state"
    assert config.delivery.catch_all == tmp_path / "sent"


def test_an_absolute_path_is_kept(tmp_path: Path) -> None:
    assert _read(f"data: {tmp_path}\n").data == tmp_path


def test_secrets_are_read_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a secret from a file, of enough letters\n")
    (tmp_path / "key").chmod(0o640)
    text = "secret: {file: key}\nstore:\n  url: postgresql://m@db/m\n  password: {env: DB}\n"
    config = _read(text, tmp_path, DB="from the environment")
    assert config.secret is not None
    assert config.store.password is not None
    assert config.secret.reveal() == "a secret from a file, of enough letters"
    assert config.store.password.reveal() == "from the environment"
    for shown in (repr(config), str(config), repr(config.model_dump())):
        assert "enough letters" not in shown
        assert "from the environment" not in shown


def test_names_are_brought_into_one_form() -> None:
    config = _read("hostname: Mail.Example.COM.\ninbound: {domains: [IN.example.com]}\n")
    assert config.hostname == "mail.example.com"
    assert config.inbound.domains == ("in.example.com",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1", True),
        ("192.0.2.53:5353", True),
        ("2001:db8::53", True),
        ("'[2001:db8::53]:53'", True),
        ("':53'", False),
    ],
)
def test_nameservers_have_these_forms(text: str, value: bool) -> None:
    try:
        assert _read(f"dns: {{nameservers: [{text}]}}").dns.nameservers == (text.strip("'"),)
    except ConfigError:
        assert not value
    else:
        assert value


def test_a_byte_order_mark_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfgrace: 5\n")
    assert load(tmp_path / "m.yaml", environ={}).grace == 5


def test_fault_o01_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path, because in (
        (tmp_path / "nowhere.yaml", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (Path("/dev/zero"), "is larger than 1000000 bytes, so it is hardly a configuration"),
    ):
        with pytest.raises(ConfigError) as raised:
            load(path, environ={})
        assert raised.value.errors == (f"{path}: {because}",)


def test_fault_o01_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    for text in (
        "secret: hunter2-hunter2\n",
        "secret: [hunter2-hunter2]\n",
        "secret: {hunter2-hunter2: x}\n",
        "store: {url: 'postgresql://u:hunter2-hunter2@h/d'}\n",
        "store: {url: 'postgresql://u@h/d?password=hunter2-hunter2'}\n",
    ):
        with pytest.raises(ConfigError) as raised:
            _read(text)
        assert "hunter2" not in str(raised.value)


def _errors(text: str) -> tuple[str, ...]:
    """The errors of a configuration; none when it loads. Anything else that is raised fails the test."""
    try:
        _read(text)
    except ConfigError as error:
        return error.errors
    return ()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_fault_o01_any_text_is_a_configuration_or_lines_that_say_why_not(text: str) -> None:
    assert all(re.match(r"test\.yaml:\d+:\d+: \S", line) for line in _errors(text))


_LINES = r"""
inbound:
  domains: [a, b]
  idle_timeout: .nan
  max_size: 1e9
- 1
tls: {
}
secret: {file: .}
? :
'
listeners: [{kind: edge, port: 1}, {kind: }]
store: &a {url: *a}
<<: {}
!!x y
%YAML 9
---
grace: 1
: :
data: ''
"""


@given(st.lists(st.sampled_from(["\t", *_LINES.strip("\n").splitlines()]), max_size=8))
def test_fault_o01_any_lines_are_a_configuration_or_lines_that_say_why_not(lines: list[str]) -> None:
    assert all(re.match(r"test\.yaml:\d+:\d+: \S", line) for line in _errors("\n".join(lines)))
