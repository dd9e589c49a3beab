"""What holds for every test: hypothesis measures no time, since the machine is shared with other tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("mailrelay", deadline=None)
settings.load_profile("mailrelay")
