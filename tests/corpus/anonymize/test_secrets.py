import json

import pytest

SECRET = "Tr0ub4dor&3x"
CASES = [
    (f"mysql --password {SECRET} db", "password"),
    (f"sshpass -p {SECRET} ssh h", "password"),
    (f"psexec \\\\h -u u -p {SECRET} cmd", "password"),
    (f"net user eve {SECRET} /add", "password"),
    (f"net use \\\\srv\\c$ {SECRET} /user:eve", "password"),
    (f"net use x: \\\\srv\\c$ /user:eve {SECRET}", "password"),
    (f"cmd /pass:{SECRET}", "password"),
    (f"plink -pw {SECRET} h", "password"),
    (f"curl -u eve:{SECRET} h", "password"),
    (f"ftp://eve:{SECRET.replace('&', '_')}@h/", "password"),
    (f"Server=db;User Id=eve;Password={SECRET.replace('&', '_')};Encrypt=1", "password"),
    ("GET /x?session_id=8f14e45fceea167a&y=1", "session"),
    ("Cookie: PHPSESSID=8f14e45fceea167a; a=b", "cookie"),
    ("Authorization: Bearer abcdef0123456789abcdef", "token"),
    ("Authorization: Basic ZXZlOlRyMHViNGRvcg==", "basic-auth"),
    ("tool --token ghp_0123456789abcdef", "token"),
    ("key AKIAIOSFODNN7EXAMPLE used", "aws-key"),
    ("aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "aws-secret"),
    ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "jwt"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----", "private-key"),
]
HIDDEN = [
    SECRET,
    SECRET.replace("&", "_"),
    "8f14e45",
    "abcdef01",
    "ZXZlOl",
    "ghp_",
    "IOSFODNN",
    "wJalr",
    "eyJhbG",
    "MIIEow",
]


@pytest.mark.parametrize(("text", "mark"), CASES)
@pytest.mark.parametrize("form", ["plain", "json", "nested"])
def test_a_secret_leaves_a_mark_of_its_kind(run, text, mark, form):
    given = {"plain": text, "json": json.dumps({"m": text}), "nested": json.dumps({"m": json.dumps({"c": text})})}[form]
    (out,) = run(given)
    assert f"<redacted:{mark}>" in out
    assert not any(hidden in out for hidden in HIDDEN)
    if form != "plain":
        assert list(json.loads(out)) == ["m"]


@pytest.mark.parametrize("value", ['"hunter22"', "1234567", '"a\\"b\\\\c"', '"hunt\\u0065r22"'])
def test_json_values_stay_json(run, value):
    (out,) = run(f'{{"password": {value}, "n": 1}}')
    assert json.loads(out) == {"password": "<redacted:password>", "n": 1}


@pytest.mark.parametrize(
    "text",
    [
        "mimikatz.exe privilege::debug sekurlsa::logonpasswords exit",
        "Failed password for root from 127.0.0.1 port 22 ssh2",
        '{"PasswordLastSet":"-","TokenElevationType":"%%1936","EventID":4624}',
        "schtasks /create /tn x /tr c:\\a.exe /sc daily",
        "nmap -p 22,80 -sS",
    ],
)
def test_what_only_sounds_like_a_secret_stays(run, text):
    assert run(text) == [text]
