"""Log sources: which kind of event a rule is for, and which kind an event is."""

import re
from typing import NamedTuple

WINDOWS = "windows"
AUDITD = "auditd"
KEYWORDS = "\0keywords"
"""The name under which a whole event is looked up: what values without a field are compared with."""
SEPARATOR = "\x1f"
"""Stands before, between and after the values of a field that has several, of which one must match."""

_CISCO = re.compile(r"%[A-Z][A-Z0-9_]{1,40}-[0-7]-[A-Z0-9_]{1,60}: ")


class LogSource(NamedTuple):
    """What a rule's `logsource` says, lower-cased."""

    product: str | None
    category: str | None
    service: str | None

    def __str__(self) -> str:
        return "/".join(part or "*" for part in self)


# What a rule says -> the kind of event. Windows is not here: its channels and event ids come from pySigma's pipelines.
_KINDS: dict[tuple[str | None, str | None, str | None], str] = {
    ("aws", None, "cloudtrail"): "cloudtrail",
    ("okta", None, "okta"): "okta",
    ("gcp", None, "gcp.audit"): "gcp",
    ("m365", None, "audit"): "o365",
    ("m365", None, "exchange"): "o365",
    ("m365", None, "threat_management"): "o365",
    ("m365", None, "threat_detection"): "o365",
    ("kubernetes", None, "audit"): "kubernetes",
    ("kubernetes", "application", "audit"): "kubernetes",
    ("bitbucket", None, "audit"): "bitbucket",
    ("linux", None, "auditd"): AUDITD,
    ("linux", None, None): "linux",
    ("linux", None, "syslog"): "linux",
    ("linux", None, "auth"): "linux",
    ("linux", None, "sshd"): "linux",
    ("linux", None, "sudo"): "linux",
    ("linux", None, "cron"): "linux",
    ("linux", None, "vsftpd"): "linux",
    ("linux", None, "clamav"): "linux",
    ("linux", None, "guacamole"): "linux",
    ("cisco", None, "aaa"): "cisco",
    ("cisco", None, "syslog"): "cisco",
    ("cisco", None, "bgp"): "cisco",
    ("cisco", None, "ldp"): "cisco",
    (None, "webserver", None): "web",
    (None, None, "apache"): "web",
    (None, None, "nginx"): "web",
    (None, "proxy", None): "proxy",
    **{
        (system, category, None): f"{system}.{category}"
        for system in ("linux", "macos")
        for category in ("process_creation", "file_event", "network_connection")
    },
    ("azure", None, "auditlogs"): "azure.audit",
    ("azure", None, "signinlogs"): "azure.signin",
    ("azure", None, "activitylogs"): "azure.activity",
    ("azure", None, "riskdetection"): "azure.risk",
    ("azure", None, "pim"): "azure.risk",
    ("gcp", None, "google_workspace.admin"): "google.admin",
    ("gcp", None, "google_workspace.login"): "google.login",
    ("github", None, "audit"): "github",
    ("opencanary", "application", None): "opencanary",
    ("onelogin", None, "onelogin.events"): "onelogin",
    ("cisco", None, "duo"): "duo",
    ("fortigate", None, "event"): "fortigate",
    (None, "dns", None): "dns",
    (None, "antivirus", None): "antivirus",
}
# An event's `source` -> its kind.
_OF_SOURCE = {
    "cloudtrail": "cloudtrail",
    "okta": "okta",
    "gcp": "gcp",
    "o365": "o365",
    "kubernetes": "kubernetes",
    "bitbucket": "bitbucket",
    "cisco": "cisco",
    "github": "github",
    "opencanary": "opencanary",
    "onelogin": "onelogin",
    "duo": "duo",
    "symantec": "antivirus",
    "web": "web",
    "squid": "proxy",
    "journald": "linux",
    "vsftpd": "linux",
}

# Sigma's names of fields -> the names that the products or the readers of logfm give them.
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "web": {
        "cs-method": ("method",),
        "cs-uri": ("path", "url"),
        "cs-uri-query": ("path", "url"),
        "cs-uri-stem": ("path", "url"),
        "c-uri": ("path", "url"),
        "cs-user-agent": ("user_agent", "cs(User-Agent)"),
        "c-useragent": ("user_agent", "cs(User-Agent)"),
        "cs-referer": ("referrer", "cs(Referer)"),
        "sc-status": ("status",),
        "c-ip": ("client", "host"),
    },
    "proxy": {
        "cs-method": ("method",),
        "c-uri": ("url", "cs-uri"),
        "c-useragent": ("user_agent", "cs(User-Agent)"),
        "sc-status": ("status",),
        "cs-host": ("cs-host", "r-host"),
    },
    "dns": {
        "query": ("dns.rrname", "dns.queries.rrname"),
        "record_type": ("qtype_name", "dns.rrtype", "dns.queries.rrtype", "type"),
        "answer": ("answers", "dns.answers.rdata"),
    },
    "antivirus": {
        "Signature": ("ThreatName", "virus"),
        "Filename": ("Path", "file"),
    },
    "google.login": {"protoPayload.Servicename": ("protoPayload.serviceName",)},
    # Of Azure, names in lower case.
    "azure.audit": {
        "properties.message": ("activitydisplayname", "operationname"),
        "operationname": ("activitydisplayname",),
        "activitytype": ("activitydisplayname",),
        "status": ("result",),
        "properties.result": ("result",),
        "properties.targetresources": ("targetresources",),
        "failure_status_reason": ("resultreason", "resultdescription"),
    },
    "azure.signin": {
        "clientapp": ("clientappused",),
        "username": ("userprincipalname",),
    },
    "azure.activity": {
        "operationnamevalue": ("operationname",),
        "categoryvalue": ("category.value", "category"),
        "resourceprovidervalue": ("resourceprovidername.value", "resourceprovidername"),
    },
}
FOLDED = frozenset(("azure.audit", "azure.signin", "azure.activity", "azure.risk"))
"""Kinds whose fields are looked up without regard to case: rules write the same name in several."""


def rule_kind(logsource: LogSource) -> str | None:
    """The kind of event that a rule is for, None where there is no reader that gives its fields."""
    if logsource.product == WINDOWS:
        return WINDOWS
    if logsource.product == "zeek" and logsource.service:
        return f"zeek.{logsource.service}"
    return _KINDS.get(logsource)


def event_kind(source: str, log_type: str | None, text: str) -> str | None:
    """The kind of an event by `source` and `log_type`: a Cisco IOS message by its mnemonic, other syslog is Linux's."""
    if source == WINDOWS:
        return WINDOWS
    if source == "zeek":
        return f"zeek.{log_type}"
    kind = _OF_SOURCE.get(source)
    if kind is None and text[:1] != "{" and _CISCO.search(text[:512]):
        return "cisco"
    return "linux" if kind is None and log_type == "syslog" else kind
