"""Names of files and folders: often those of hosts and people, with nothing around them that would tell so."""

import re
from collections.abc import Callable

from logfm.corpus.anonymize.kept import SYSTEM_ACCOUNTS, WORDS, words
from logfm.corpus.anonymize.names import Pseudonyms

_BETWEEN = re.compile(r"([/\\!#]+)")
_WORD = re.compile(r"[^\W_]+")
_ENDING = re.compile(
    r"(?:\.(?:\d{1,8}|log|txt|out|json|jsonl|ndjson|csv|tsv|xml|evtx?|pcap|pcapng|cap|gz|bz2|xz|zst|zip|tar|tgz|bak"
    r"|old))+$",
    re.IGNORECASE,
)
_KNOWN = (
    WORDS
    | SYSTEM_ACCOUNTS
    | frozenset(
        words(
            """
    var opt usr etc srv mnt tmp run data archive archives old new raw part parts all today yesterday daily weekly hourly
    access errors secure messages kern kernlog cron boot btmp wtmp faillog dpkg apt yum dnf maillog exim dovecot journal
    journald auditd laurel evtx sysmon operational setup forwarded dc winevt logfiles inetpub w3svc iis u ex in out eve
    fast stats zeek bro conn files ssl x509 weird notice ntp dhcp snmp smtp ftp ssh rdp suricata snort squid bluecoat
    ids ips waf edr av siem vpn wlan wifi firewalld iptables ufw pf cisco asa fortinet fortigate paloalto checkpoint
    okta entra o365 office365 cloudtrail guardduty vpcflow stdin stdout stderr json jsonl ndjson csv tsv xml txt pcap
    pcapng gz bz2 xz zst zip tar tgz evt jan feb mar apr may jun jul aug sep oct nov dec
    """
        )
    )
)


def anonymous_path(path: str, text: Callable[[str], str], names: Pseudonyms) -> str:
    """A path whose parts are rewritten by `text`, and keyed pseudonyms where they hold a word that is none of logs.

    Numbers and the usual endings stay: `/srv/web01/auth.log.1` becomes `/srv/file-.../auth.log.1`.
    """
    parts, changed = _BETWEEN.split(path), _BETWEEN.split(text(path))
    if len(changed) != len(parts):
        return "".join(_part(part, names) for part in changed)
    return "".join(_part(new, names) if new == part else new for part, new in zip(parts, changed, strict=True))


def _part(part: str, names: Pseudonyms) -> str:
    if all(word.isdigit() or word.lower() in _KNOWN for word in _WORD.findall(part)):
        return part
    ending = _ENDING.search(part)
    stem = part[: ending.start()] if ending else part
    return f"file-{names.name('host', stem.lower()).removeprefix('host-')}{ending[0] if ending else ''}"
