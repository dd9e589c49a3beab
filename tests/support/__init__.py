"""What tests stand on: a clock, a DNS zone, certificates, peers."""
