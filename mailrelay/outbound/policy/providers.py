"""How much the big providers take from one sender at once: ceilings by MX site, for those that no setting speaks of (O11).

They are modest: whoever has the reputation for more says so in `delivery.shaping.sites`, and what a provider takes less of is
learned from its answers. The site is the registrable domain of the MX host.
"""

from __future__ import annotations

CONNECTIONS: dict[str, tuple[int, int]] = {
    # connections, messages for each of them
    "google.com": (20, 100),
    "googlemail.com": (20, 100),
    "outlook.com": (20, 100),  # Microsoft 365 and Outlook.com: *.protection.outlook.com
    "microsoft": (20, 100),  # Microsoft 365 with DANE: *.mx.microsoft
    "mx.microsoft": (20, 100),
    "yahoodns.net": (10, 20),  # Yahoo, AOL
    "icloud.com": (10, 50),
    "comcast.net": (10, 100),
    "charter.net": (5, 50),
    "cox.net": (5, 50),
    "mimecast.com": (10, 100),
    "pphosted.com": (10, 100),  # Proofpoint
    "ppe-hosted.com": (10, 100),
    "messagelabs.com": (10, 50),  # Symantec
    "barracudanetworks.com": (10, 50),
    "iphmx.com": (10, 50),  # Cisco
    "emailsrvr.com": (10, 50),  # Rackspace
    "secureserver.net": (10, 50),  # GoDaddy
    "amazonaws.com": (10, 50),
    "zoho.com": (10, 50),
    "zoho.eu": (10, 50),
    "messagingengine.com": (10, 50),  # Fastmail
    "protonmail.ch": (10, 50),
    "ionos.com": (10, 50),
    "kundenserver.de": (10, 50),  # IONOS
    "gmx.net": (10, 50),
    "web.de": (10, 50),
    "t-online.de": (5, 50),
    "freenet.de": (5, 50),
    "orange.fr": (2, 100),
    "free.fr": (2, 100),
    "laposte.net": (2, 50),
    "sfr.fr": (2, 50),
    "ovh.net": (10, 50),
    "libero.it": (5, 50),
    "virgilio.it": (5, 50),
    "tim.it": (5, 50),
    "wp.pl": (5, 50),
    "onet.pl": (5, 50),
    "seznam.cz": (5, 50),
    "mail.ru": (10, 50),
    "yandex.ru": (10, 50),
    "yandex.net": (10, 50),
    "btinternet.com": (5, 50),
    "bt.com": (5, 50),
    "sky.com": (5, 50),
    "qq.com": (5, 20),
    "netease.com": (5, 20),
    "sina.com": (5, 20),
    "naver.com": (5, 50),
    "docomo.ne.jp": (2, 20),
    "au.com": (2, 20),
    "ezweb.ne.jp": (2, 20),
    "uol.com.br": (5, 50),
    "terra.com": (5, 50),
}
