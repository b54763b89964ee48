import json
import re

import pytest

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize import Anonymizer, Names, collect, resolve
from logfm.errors import UserError


def test_one_user_has_one_pseudonym_in_every_form(run):
    out = run(
        '{"TargetUserName":"hgranger","TargetDomainName":"HOGWARTS"}',
        '{"User":"HOGWARTS\\\\hgranger"}',
        "login of hgranger@hogwarts.local",
        "C:\\Users\\HGRANGER\\x.ps1 /home/hgranger/.ssh",
        "session opened for user hgranger by (uid=0)",
    )
    (name,) = json.loads(out[0])["TargetUserName"].split()
    domain = json.loads(out[0])["TargetDomainName"]
    assert json.loads(out[1])["User"] == f"{domain}\\{name}"
    assert out[2] == f"login of {name}@{domain.lower()}.local"
    assert out[3] == f"C:\\Users\\{name.upper()}\\x.ps1 /home/{name}/.ssh"
    assert out[4] == f"session opened for user {name} by (uid=0)"


def test_hosts_keep_their_dollar_case_and_domain(run):
    out = run('{"Computer":"OWLPOST.hogwarts.local","SubjectUserName":"OWLPOST$"}', "\\\\owlpost\\c$ OWLPOST")
    computer, subject = json.loads(out[0]).values()
    assert subject == computer.split(".")[0] + "$"
    assert re.fullmatch(r"HOST-[A-Z]{15}\.dom-[a-z]{15}\.local", computer)
    assert out[1] == f"\\\\{subject[:-1].lower()}\\c$ {subject[:-1]}"


def test_same_key_same_output_other_key_another(run):
    texts = [
        '{"user":"hgranger","ip":"81.2.69.142"}',
        "mail luna@ravenclaw.co.uk S-1-5-21-1-2-3-1104 00:0c:29:5e:1f:77",
    ]
    assert run(*texts) == run(*texts)
    for one, two in zip(run(*texts), run(*texts, key=b"k" * 32), strict=True):
        assert one != two


KEPT = [
    "mimikatz.exe sekurlsa::logonpasswords",
    "powershell.exe -nop -w hidden -enc JABzAD0ATgBlAHcALQBPAGIAagBlAGMAdAA=",
    "C:\\Windows\\System32\\rundll32.exe comsvcs.dll, MiniDump 624 C:\\temp\\lsass.dmp full",
    "NT AUTHORITY\\SYSTEM S-1-5-18 S-1-5-32-544",
    "Failed password for root from 127.0.0.1 port 22 ssh2",
    "MD5=5d41402abc4b2a76b9719d911017c592,SHA256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2 {00000000-0000-0000-0000-000000000000}",
    "GET http://169.254.169.254/latest/meta-data/iam 0.0.0.0 255.255.255.0",
    "sts.amazonaws.com us-east-1 iam.amazonaws.com",
    "System.Net.WebClient libc.so.6 kernel32.dll install.sh user.name 10.0.19041.1 v1.2.3",
    "Version=4.0.0.0, Culture=neutral",
    "kex: curve25519-sha256@libssh.org hmac-sha2-256-etm@openssh.com",
    "2020-08-07T14:32:25.358Z 12:34:56 1.3.6.1.4.1.311.21.20",
    '{"EventID":4624,"user":"root","Hostname":"localhost","n":1.50,"a":[1e5]}',
]  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_what_makes_an_attack_recognisable_stays(run, text):
    assert run(text) == [text]


def test_encodings_are_untouched_without_identifiers_and_closed_again_with(run):
    import base64

    hidden = base64.b64encode("net view \\\\OWLPOST /all".encode("utf-16-le")).decode()
    known = '{"Computer":"OWLPOST"}'
    out = run(known, f"powershell -enc {hidden}")
    host = json.loads(out[0])["Computer"]
    inner = base64.b64decode(out[1].removeprefix("powershell -enc ")).decode("utf-16-le")
    assert inner == f"net view \\\\{host} /all"


def test_sids_share_their_machine_and_keep_known_relative_ids(run):
    (out,) = run("S-1-5-21-11-22-33-500 S-1-5-21-11-22-33-1104 S-1-5-21-11-22-34-1104")
    first, second, third = out.split()
    assert first.endswith("-500")
    assert first.rsplit("-", 1)[0] == second.rsplit("-", 1)[0] != third.rsplit("-", 1)[0]
    assert not second.endswith("-1104")


def test_sub_domains_and_suffixes_survive(run):
    (out,) = run("mail.lab.ravenclaw.co.uk lab.ravenclaw.co.uk ravenclaw.co.uk bucket7.s3.amazonaws.com")
    deep, middle, top, bucket = out.split()
    assert deep == f"mail.{middle}"
    assert middle.endswith(f".{top}")
    assert re.fullmatch(r"dom-[a-z]{15}\.co\.uk", top)
    assert re.fullmatch(r"dom-[a-z]{15}\.s3\.amazonaws\.com", bucket)


def test_dashed_and_reversed_addresses_map_as_the_address(run):
    mapped, dashed, reverse = run("10.1.2.3", "ip-10-1-2-3", "3.2.1.10.in-addr.arpa")
    assert dashed == "ip-" + mapped.replace(".", "-")
    assert reverse == ".".join(reversed(mapped.split("."))) + ".in-addr.arpa"


def test_ports_stay_beside_addresses(run):
    (out,) = run("10.1.2.3:4444 [2001:db8::7]:443 IP 10.1.2.3.443 >")
    assert re.fullmatch(r"10\.\d+\.\d+\.\d+:4444 \[[0-9a-f:]+\]:443 IP 10\.\d+\.\d+\.\d+\.443 >", out)
    assert "10.1.2.3" not in out


def test_a_short_name_is_replaced_by_position_only(run):
    first, second = run('{"user":"jd","n":"jd x"}', "user=jd jd")
    assert '"n":"jd x"' in first
    assert "jd" not in json.loads(first)["user"]
    assert second.endswith(" jd")
    assert "=jd" not in second


def test_an_attacker_cannot_turn_keys_into_names(run):
    events = ['{"Message":"a","Channel":"b"}'] * 5
    out = run(*events, "sshd: Invalid user Message from 10.0.0.1", "Invalid user Channel from 10.0.0.1")
    assert out[:5] == events
    assert "Invalid user Message" not in out[5]


def test_the_order_of_parts_and_their_number_change_nothing(batch):
    batches = [batch(f'{{"user":"u{n}ser","Computer":"h{n}ost.hogwarts.local","k{n}":1}}') for n in range(20)]
    config = AnonymizeConfig(max_keys=5)
    parts = [collect([one], config) for one in batches]
    whole = resolve(collect(batches, config), config)
    assert resolve(parts, config) == whole
    assert resolve(parts[::-1], config) == whole
    again = [Names.of(part.document(), config) for part in parts]
    assert resolve(again, config) == whole
    assert whole.counts() == {"host": 20, "domain": 1, "user": 20, "contextual": 0}


def test_too_many_names_stop_rather_than_leak(batch):
    with pytest.raises(UserError, match="max_identifiers"):
        collect([batch('{"user":"one"}', '{"user":"two"}')], AnonymizeConfig(max_identifiers=1))


def test_nothing_of_a_pseudonym_depends_on_the_name_without_the_key(batch):
    names = resolve(collect([batch(*(f'{{"user":"user{n}x"}}' for n in range(300)))]))
    made = set()
    for key in (b"a" * 32, b"b" * 32):
        anonymizer = Anonymizer(key, names)
        made.add(tuple(anonymizer.text(f"user{n}x") for n in range(300)))
    one, two = made
    assert len(set(one)) == len(set(two)) == 300
    assert not set(one) & set(two)


def test_rejects_lose_their_excerpt_and_map_their_file(key, batch):
    from logfm.corpus.events import Reject
    from logfm.corpus.shards import reject_batch

    anonymizer = Anonymizer(key, resolve(collect([batch("x", user="hgranger")])))
    out = anonymizer.rejects(reject_batch([Reject("/home/hgranger/a.log", 7, "bad", "hgranger 10.1.2.3")])).to_pylist()
    assert out[0]["excerpt"] == ""
    assert out[0]["file"].startswith("/home/")
    assert "hgranger" not in out[0]["file"]
    assert (out[0]["offset"], out[0]["reason"]) == (7, "bad")


HOSTILE = ["a", "\\", '"', "%41", "1.", "::", "a.", "-", "@", "{", "/", "\\u0041", "user=", '"password":"', "&#", "aa:",
           "A", "0x41", "Bearer ", "-p ", "net use ", "é", "\ud7ff", "users\\", "10.0.0.1", " "]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("head", ["", '{"a":"', "sshpass -p x "])
def test_long_hostile_lines_come_through(run, unit, head):
    (out,) = run(head + unit * (65536 // len(unit)))
    assert out


def test_padded_addresses_map_as_plain_ones_and_are_no_host_names(run):
    plain, padded, column = run("10.1.2.3", "010.001.002.003", '{"Hostname":"253.252.51.07"}')
    assert padded == plain
    assert "host-" not in column


def test_an_escape_before_an_address_is_no_part_of_the_name(run):
    rows = run(
        r'{"Message": "A logon.\r\n\tAccount Name:\t\tjdoe@acme-widgets.com\nnora.berg@acme-widgets.com"}',
        r'{"Message": "jdoe and nora.berg were here, \ttom@acme-widgets.com too"}',
        r'{"owner": "jdoe@acme-widgets.com", "other": "nora.berg@acme-widgets.com", "third": "tom@acme-widgets.com"}',
    )
    texts = [json.loads(row) for row in rows]
    first, second = (texts[2][name].partition("@")[0] for name in ("owner", "other"))
    assert f"\t\t{first}@" in texts[0]["Message"] and f"\n{second}@" in texts[0]["Message"]
    assert texts[1]["Message"].startswith(f"{first} and {second} were here")
    assert f"\t{texts[2]['third']} too" in texts[1]["Message"]
