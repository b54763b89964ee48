"""No planted identifier comes out, in whatever encoding it went in; the search is independent of the rewriting."""

import base64
import html
import json
import re
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logfm.corpus.anonymize import Anonymizer, collect, resolve

USERS = ["hgranger", "neville.longbottom", "svc_potions", "Ünal.Öz"]
HOSTS = ["HOGWDC01", "dungeon-7", "OWLPOST"]
DOMAIN = "hogwarts.local"
MAIL = "luna.lovegood@ravenclaw.co.uk"
ADDRESSES = ["10.20.30.40", "81.2.69.142", "2001:db8:aa::1234"]
MAC = "00:0c:29:5e:1f:77"
SID = "S-1-5-21-1004336348-1177238915-682003330-1104"
GUID = "6ba7b814-9dad-41d1-80b4-00d04fd430c8"
PLANTED = [*USERS, *HOSTS, DOMAIN, MAIL, *ADDRESSES, MAC, SID, GUID]
HIDDEN = [*USERS, *HOSTS, "hogwarts", "lovegood", "ravenclaw", *ADDRESSES, MAC, SID, "1004336348", GUID]
FORMS = {
    "plain": lambda text: text,
    "capitals": lambda text: text.upper(),
    "mailbox": lambda text: f"<{text}>",
    "quoted": lambda text: f"'{text}'",
    "url": lambda text: f"https://x.test/?q={quote('a b=' + text, safe='')}",
    "double url": lambda text: quote(quote(f"={text}@", safe=""), safe=""),
    "base64": lambda text: base64.b64encode(f"echo {text} done".encode()).decode(),
    "powershell": lambda text: "powershell -enc " + base64.b64encode(f"ping {text}; ls".encode("utf-16-le")).decode(),
    "hex": lambda text: "proctitle=" + f"ping {text}".encode().hex().upper(),
    "json escape": lambda text: json.dumps({"k": "\n" + "".join(f"\\u{ord(char):04x}" for char in text)}).replace(
        "\\\\u", "\\u"
    ),
    "entity": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "nested json": lambda text: json.dumps({"k": json.dumps({"v": f"\t{text}\r\n", "w": [text]})}),
    "path": lambda text: f"C:\\data\\{text}\\x.exe",
    "json path": lambda text: json.dumps({"p": f"C:\\new\\{text}\\table"}),
    "underscores": lambda text: f"backup_{text}_old",
}


def decoded(text: str) -> str:
    """What a reader of the log could see: every layer opened, by other means than the rewriting's own."""
    layers, layer = [text], text
    for _ in range(3):
        layer = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), html.unescape(layer))
        layer = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), layer)
        layers.append(layer)
    for run in re.findall(r"[A-Za-z0-9+/=]{16,}", text):
        for codec in ("utf-8", "utf-16-le"):
            try:
                layers.append(base64.b64decode(run).decode(codec, "ignore"))
            except ValueError:
                continue
    for run in re.findall(r"(?:[0-9A-Fa-f]{2}){6,}", text):
        layers.append(bytes.fromhex(run).decode("utf-8", "ignore"))
    return "\n".join(layers).lower()


def known(batch):
    """Where the names become known: columns and keys of a few events."""
    texts = [json.dumps({"TargetUserName": user, "Computer": f"{host}.{DOMAIN}"}) for user in USERS for host in HOSTS]
    return [batch(*texts, "from dungeon-7", host="dungeon-7", user=f"HOGWARTS\\{USERS[0]}"), batch(f"to {MAIL}")]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(PLANTED), st.sampled_from(sorted(FORMS)), st.sampled_from([" ", ", ", "; ", '" "'])),
        min_size=1,
        max_size=6,
    )
)
def test_no_planted_identifier_comes_out(batch, key, planted):
    text = "".join(f"w{place}{gap}{FORMS[form](name)}{gap}" for place, (name, form, gap) in enumerate(planted))
    events = batch(text, fields=json.dumps({"m": text}), process=text, file=text, label=text, session_id=text)
    out = Anonymizer(key, resolve(collect([*known(batch), events]))).events(events)
    for column in ("text", "fields", "process", "file", "label", "session_id"):
        (value,) = out.column(column).to_pylist()
        seen = decoded(value)
        assert [name for name in HIDDEN if name.lower() in seen] == [], value
    json.loads(out.column("fields")[0].as_py())


LEAVES = st.text() | st.integers() | st.none() | st.floats(allow_nan=False) | st.sampled_from(PLANTED)
KEYS = st.sampled_from(["user", "msg", "n", "Computer"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_json_stays_json_of_the_same_shape(batch, key, value):
    identifiers = resolve(collect(known(batch)))
    anonymizer = Anonymizer(key, identifiers)
    for ascii_only in (True, False):
        text = (
            json.dumps({"data": value, "password": value}, ensure_ascii=ascii_only).encode("utf-8", "replace").decode()
        )
        out = json.loads(anonymizer.text(text))
        assert shape(out["data"]) == shape(json.loads(text)["data"])


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__
