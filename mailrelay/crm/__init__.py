"""Records in and out: what keeps mailrelay in step with a CRM (R7)."""
