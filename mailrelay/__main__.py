"""`python -m mailrelay`."""

from mailrelay.cli import main

main()
