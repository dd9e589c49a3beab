"""What came back, read and judged: bounces, delays, receipts, complaints, automatic answers (I10)."""
