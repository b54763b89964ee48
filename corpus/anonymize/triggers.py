"""Where text says that a name or a secret follows: words that one automaton finds, and what must stand behind them.

Each rule is anchored at its word, so that work is linear in the text's length for a bounded number of words.
"""

import re
from dataclasses import dataclass
from typing import Literal

from logfm.corpus.anonymize.kept import words
from logfm.corpus.anonymize.names import Kind

Role = Kind | Literal["authority"]

_USER_KEYS = words(
    """
    user username user_name user-name targetusername subjectusername samaccountname accountname account_name
    userprincipalname upn userid user_id src_user dst_user srcuser dstuser suser duser ruser logname acct mailbox
    mailboxownerupn mailboxowner login loginname login_name uname usrname calleruser targetuser sourceuser
    targetoutboundusername sourceusername destinationusername logonaccount samname principalname usrname useraccount
    rolesessionname newtargetusername oldtargetusername oldname xauthuser clientusername membername euser
    targetuserorgroupname cs-username parentuser actoruser
    """
)
_HOST_KEYS = words(
    """
    host hostname host_name computer computername computer_name workstation workstationname machinename devicename
    device_name devname src_host dst_host srchost dsthost shost dhost dvchost dvc rhost rhostname servername
    server_name targetservername sourcehostname destinationhostname clientname client_name remotehost clienthost
    sourceworkstation agent_hostname samba_host src_name dst_name machine_name syslog_hostname _hostname
    targetcomputer clientcomputername server_hostname caller_computer
    """
)
_DOMAIN_KEYS = words(
    """
    domain domainname subjectdomainname targetdomainname accountdomain userdomain dnsdomain domain_name
    account_domain targetoutbounddomainname ntdomain sntdom dntdom dnshostname userdnsdomain targetuserdomain
    sourcedomain
    """
)
_ACCOUNT_KEYS = words(
    """
    accountid recipientaccountid account_id aws_account_id owneraccountid awsaccountid
    """
)
_SPACED: dict[str, Role] = {
    "account name": "user",
    "account domain": "domain",
    "user name": "user",
    "workstation name": "host",
    "computer name": "host",
    "logon account": "user",
    "source workstation": "host",
    "network account name": "user",
    "caller computer name": "host",
    "client name": "host",
}
_ADDRESSED = words("queryname dns_query rrname query destinationdnsdomain sni server_name_indication")
KEYS: dict[str, Role] = {
    **dict.fromkeys(_ADDRESSED, "authority"),
    **_SPACED,
    **dict.fromkeys(_DOMAIN_KEYS, "domain"),
    **dict.fromkeys(_HOST_KEYS, "host"),
    **dict.fromkeys(_USER_KEYS, "user"),
    **dict.fromkeys(_ACCOUNT_KEYS, "account"),
}

_BARE = r"[^\s\"'<>,;|&()\[\]{}\\=`]{1,256}"
# `key: value`, `"key":"value"`, `\"key\":\"value\"`, `key='value'`, `Name="key">value<`.
_GAP = r"(?P<close>\\{0,4}[\"'])?\s{0,4}[:=>]\s{0,4}(?:\\{1,2}[trn]|\s){0,8}"
_QUOTED = (
    r"(?:\\{0,4}\"(?P<double>[^\"<>\r\n]{0,512}?)(?=\\{0,4}[\"<\r\n])"
    r"|\\{0,4}'(?P<single>[^\"'<>\r\n]{0,512}?)(?=\\{0,4}[\"'<\r\n])"
)
_JSON_PAIR, _PLAIN_PAIR = r"(?:\\\\){1,2}", r"\\{1,4}"


def _named(pair: str) -> re.Pattern[str]:
    return re.compile(rf"{_GAP}{_QUOTED}|(?P<bare>(?:{pair})?{_BARE}(?:{pair}{_BARE})?))")


NAMED = {True: _named(_JSON_PAIR), False: _named(_PLAIN_PAIR)}
"""What follows a key, by whether the text is JSON: groups double, single or bare; close is the quote behind the key."""


@dataclass(frozen=True)
class Phrase:
    """A word of running text and the pattern that begins with it; group 1 is the name."""

    word: str
    role: Role
    pattern: re.Pattern[str]


def _phrase(word: str, role: Role, rest: str) -> Phrase:
    return Phrase(word, role, re.compile(re.escape(word) + rest, re.IGNORECASE))


_NAME = r"([^\s\"'<>,;|&()\[\]{}\\=:/]{1,128})"
_FOLDER = r"([^\s\\/:*?\"<>|,;&'()\[\]{}%$=`]{1,64}(?: [^\s\\/:*?\"<>|,;&'()\[\]{}%$=`]{1,32}(?=[\\/])){0,2})"
PHRASES = (
    _phrase("invalid user ", "user", _NAME),
    _phrase("illegal user ", "user", _NAME),
    _phrase("for user ", "user", r"\[?" + _NAME),
    _phrase("authenticating user ", "user", _NAME),
    _phrase("password for ", "user", r"(?!invalid user |user )" + _NAME + r"(?= from)"),
    _phrase("publickey for ", "user", r"(?!invalid user )" + _NAME + r"(?= from)"),
    _phrase("new user: name=", "user", _NAME),
    _phrase("sudo: ", "user", r"\s{0,12}" + _NAME + r"(?= : )"),
    _phrase("sudo:  ", "user", r"\s{0,12}" + _NAME + r"(?= : )"),
    _phrase("net user ", "user", r"(?!/)" + _NAME),
    _phrase("net1 user ", "user", r"(?!/)" + _NAME),
    _phrase("user:", "user", r"((?:[^\s\"'<>,;|&()\[\]{}\\=:/]{1,64}\\{1,4})?[^\s\"'<>,;|&()\[\]{}\\=:/]{1,128})"),
    _phrase('"user"', "user", r"\s{0,4}:\s{0,4}\{[^{}]{0,1024}?\"name\"\s{0,4}:\s{0,4}\"([^\"\\]{1,128})"),
    _phrase('"host"', "host", r"\s{0,4}:\s{0,4}\{[^{}]{0,1024}?\"name\"\s{0,4}:\s{0,4}\"([^\"\\]{1,128})"),
    _phrase("/home/", "user", _FOLDER),
    _phrase("users\\", "user", r"\\{0,3}" + _FOLDER),
    _phrase("users/", "user", _FOLDER),
    _phrase("://", "authority", r"(?:[^\s/@\"'<>\\?#]{1,256}@)?([A-Za-z0-9_][\w.\-]{0,253})"),
    _phrase(":\\/\\/", "authority", r"(?:[^\s/@\"'<>\\?#]{1,256}@)?([A-Za-z0-9_][\w.\-]{0,253})"),
)
