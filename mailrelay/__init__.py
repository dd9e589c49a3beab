"""The mail pipeline that a CRM stands on."""

__version__ = "0.1.0"
