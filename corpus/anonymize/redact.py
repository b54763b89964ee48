"""Secrets: the words that announce one, and the part behind them that is replaced by a mark of its kind."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from logfm.corpus.anonymize.kept import words
from logfm.corpus.anonymize.positions import Finder

_VALUE_KEYS = {
    "password": "password", "passwd": "password", "passphrase": "password", "pwd": "password", "pass": "password",
    "passwort": "password", "adminpassword": "password", "cpassword": "password", "userpassword": "password",
    "masteruserpassword": "password", "newpassword": "password", "oldpassword": "password",
    "token": "token", "access_token": "token", "accesstoken": "token", "refresh_token": "token", "id_token": "token",
    "sessiontoken": "token", "session_token": "token", "authtoken": "token", "auth_token": "token",
    "x-amz-security-token": "token", "securitytoken": "token", "csrf_token": "token", "csrftoken": "token",
    "secret": "secret", "client_secret": "secret", "clientsecret": "secret", "secretkey": "secret",
    "secret_key": "secret", "secretaccesskey": "aws-secret", "aws_secret_access_key": "aws-secret",
    "secretstring": "secret", "sharedaccesskey": "secret", "accountkey": "secret", "private_key": "private-key",
    "privatekey": "private-key", "keymaterial": "private-key", "passworddata": "password",
    "api_key": "api-key", "apikey": "api-key", "api-key": "api-key", "x-api-key": "api-key",
    "sessionid": "session", "session_id": "session", "jsessionid": "session", "phpsessid": "session",
    "asp.net_sessionid": "session", "sid": "session", "sessid": "session", "x-amz-signature": "signature",
    "sig": "signature", "signature": "signature",
}  # fmt: skip
# Only as a parameter (`?sid=`, `&sig=`), a cookie or an assignment: as JSON keys they hold Windows SIDs and rule names.
_ONLY_ASSIGNED = frozenset({"sid", "sig", "signature", "pass", "session_id", "sessionid"})
_BARE = r"[^\s\"'<>,;&|)}\]\\]{1,4096}"
_PAIR = re.compile(
    r"(?P<close>\\{0,4}[\"'])?\s{0,4}(?P<sign>[:=])\s{0,4}"
    r"(?:\"(?P<string>(?:[^\"\\]|\\.){1,65536})"
    r"|(?P<open>\\{1,8}\")(?P<double>[^\r\n]{1,16384}?)(?=(?<!\\)(?P=open))|'(?P<single>[^'\r\n]{1,4096})'"
    rf"|(?P<bare>(?!\\|null\b|true\b|false\b|none\b){_BARE}))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Secret:
    """A word, the pattern that begins with it (group 1 is the secret), and the mark's name."""

    word: str
    mark: str
    pattern: re.Pattern[str]
    behind: frozenset[str] = frozenset()


def _secret(word: str, mark: str, rest: str, behind: frozenset[str] = frozenset()) -> Secret:
    pattern = re.compile(re.escape(word) + rest, re.IGNORECASE)
    return Secret(word, mark, pattern, behind)


_ARGUMENT = r"\s{1,4}(\\?\"[^\"\r\n]{1,512}?\\?\"|'[^'\r\n]{1,512}'|[^\s\"'\\<>]{1,512})"
_TOOLS = words(
    """
    sshpass psexec paexec plink pscp putty winexe mysql smbclient evil-winrm crackmapexec netexec nxc cme wmiexec mstsc
    freerdp ldapsearch hydra docker curl schtasks
    """
)
_REMOTE = frozenset(_TOOLS) - {"curl", "schtasks"}
_LAST = r"((?![/\"<>|\\])[^\s\"'\\<>|]{1,256})"
_PEM = r"(?:[A-Za-z0-9+/=:\s]|\\{1,8}[nr]){1,65536}"
SECRETS = (
    _secret("-----begin", "private-key", rf"[A-Z0-9 ]{{0,32}}PRIVATE KEY[A-Z ]{{0,8}}-----({_PEM})"),
    _secret("bearer", "token", r"(?:\s|%20|\+){1,4}([A-Za-z0-9._~+/=\-]{8,8192})"),
    _secret("basic", "basic-auth", r"(?:\s|%20){1,4}([A-Za-z0-9+/]{8,4096}={0,2})(?![A-Za-z0-9])"),
    _secret("eyj", "jwt", r"([A-Za-z0-9_\-]{5,8192}\.[A-Za-z0-9_\-]{4,8192}\.[A-Za-z0-9_\-]{0,8192})"),
    _secret("cookie", "cookie", r"(?:\\{0,4}[\"'])?\s{0,4}[:=]\s{0,4}(?:\\{0,4}[\"'])?([^\"'\\\r\n]{1,8192})"),
    _secret("akia", "aws-key", r"([A-Z0-9]{12,28})(?![A-Za-z0-9])"),
    _secret("asia", "aws-key", r"([A-Z0-9]{12,28})(?![A-Za-z0-9])"),
    _secret("--password", "password", _ARGUMENT),
    _secret("--token", "token", _ARGUMENT),
    _secret("--secret", "secret", _ARGUMENT),
    _secret("--api-key", "api-key", _ARGUMENT),
    _secret("-password", "password", _ARGUMENT),
    _secret("-asplaintext", "password", _ARGUMENT),
    _secret("convertto-securestring", "password", r"(?: -string)?" + _ARGUMENT),
    _secret("/pass:", "password", r"(\\?\"[^\"]{1,512}?\\?\"|[^\s\"'\\<>]{1,512})"),
    _secret("/password:", "password", r"(\\?\"[^\"]{1,512}?\\?\"|[^\s\"'\\<>]{1,512})"),
    _secret("/p:", "password", r"([^\s\"'\\<>]{1,512})"),
    _secret("/rp", "password", _ARGUMENT, frozenset({"schtasks"})),
    _secret("-p", "password", _ARGUMENT.replace("{1,4}", "{0,4}", 1).replace("|[^", r"|(?!-)[^"),
            _REMOTE),
    _secret("-pw", "password", _ARGUMENT, _REMOTE),
    _secret("-u", "password", r"\s{1,4}[\"']?[^\s:\"'\\]{1,128}:([^\s\"'\\]{1,256})", frozenset({"curl"})),
    _secret("net user", "password", r"\s{1,4}[^\s/]{1,128}\s{1,4}((?![/\"<>|])[^\s\"'\\<>|]{1,256})"),
    _secret("net1 user", "password", r"\s{1,4}[^\s/]{1,128}\s{1,4}((?![/\"<>|])[^\s\"'\\<>|]{1,256})"),
    _secret("net use", "password", rf"\s{{1,4}}(?:\w:\s{{1,4}})?\\{{2,8}}[^\s]{{1,256}}\s{{1,4}}{_LAST}"),
    _secret("net use", "password", rf"\s[^\r\n\"]{{0,256}}?/user:[^\s\"]{{1,256}}\s{{1,4}}{_LAST}"),
    _secret("://", "password", r"[^\s/:@\"'<>\\]{0,128}:([^\s/@\"'<>\\]{1,256})@"),
    _secret(":\\/\\/", "password", r"[^\s/:@\"'<>\\]{0,128}:([^\s/@\"'<>\\]{1,256})@"),
)  # fmt: skip
WORDS = (*_VALUE_KEYS, *(secret.word for secret in SECRETS))
_WHOLE = frozenset({"akia", "asia", "eyj"})
_NEXT_COMMAND = re.compile(r"[|;&]")
_LOOK_BACK = 256


def assigned(word: str, text: str, start: int, end: int) -> tuple[int, int, str] | None:
    """(start, end, replacement) of the secret that is assigned to the key at `start`..`end`, if one is."""
    found = _PAIR.match(text, end)
    if found is None or (start and (text[start - 1].isalnum() and text[start - 2 : start - 1] != "%")):
        return None
    if word in _ONLY_ASSIGNED and (found["close"] or found["sign"] == ":"):
        return None
    mark = f"<redacted:{_VALUE_KEYS[word]}>"
    for group in ("string", "double", "single", "bare"):
        value = found[group]
        if value is not None:
            if not value.strip("*-.() ") or value.startswith(("<redacted:", "$", "%")):
                return None
            # A bare value behind a JSON key is a number: the mark brings quotes of its own.
            quote = found["close"] if group == "bare" and found["close"] and value[0] not in "{[" else ""
            if group == "bare" and found["close"] and value[0] in "{[":
                return None
            return *found.span(group), f"{quote}{mark}{quote}"
    return None


def announced(secret: Secret, text: str, start: int) -> tuple[int, int, str] | None:
    """(start, end, replacement) of the secret that follows `secret.word` at `start`, if one does."""
    if start and text[start - 1].isalnum() and secret.word[0].isalnum() and not _escaped(text, start):
        return None
    found = secret.pattern.match(text, start)
    if found is None or (secret.behind and not _is_behind(secret.behind, text, start)):
        return None
    first, last = (start, found.end(1)) if secret.word in _WHOLE else found.span(1)
    value = text[first:last]
    if value.startswith(("<redacted:", '\\"$', '"$', "$")):
        return None
    if value[0] == "\\" and value[1:2] == '"':
        first, last = first + 2, last - 2
    elif value[0] in "\"'" and len(value) > 1:
        first, last = first + 1, last - 1
    return first, last, f"<redacted:{secret.mark}>"


def is_value_key(word: str) -> bool:
    """Whether a value is assigned to the word, rather than announced by it."""
    return word in _VALUE_KEYS


def _is_behind(tools: frozenset[str], text: str, start: int) -> bool:
    """Whether the argument at `start` belongs to one of the tools: no other command begins in between."""
    found = _tools(text)
    place = bisect_right(found, start, key=itemgetter(0))
    if not place:
        return False
    end, tool = found[place - 1]
    return tool in tools and end >= start - _LOOK_BACK and not _NEXT_COMMAND.search(text, end, start)


@lru_cache(maxsize=4)
def _tools(text: str) -> list[tuple[int, str]]:
    """(end, name) of the tools that a text names."""
    return sorted((end, _TOOLS[number]) for number, _, end in _finder().find(text))


@lru_cache(maxsize=1)
def _finder() -> Finder:
    return Finder(_TOOLS)


def _escaped(text: str, start: int) -> bool:
    return text[start - 2 : start - 1] == "\\" and text[start - 1] in "nrtbf"
