import pytest

from logfm.finetune.decoder.identity import Identities


def identities(mode="masked", seed=0):
    found = Identities(mode, seed)
    found.know(["WS5.lab.example", "10.0.0.9", None], ["LAB\\ada", "SYSTEM", "WS5$", None])
    return found


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        (r"C:\Users\ada\x.exe on ws5", r"C:\Users\USER1\x.exe on HOST1"),
        (r"C:\Users\bob\x.exe", r"C:\Users\USER1\x.exe"),
        (r"HKLM\SAM\Domains\Account\Users\Names\x", r"HKLM\SAM\Domains\Account\Users\Names\x"),
        (r"C:\Users\Public\x.exe", r"C:\Users\Public\x.exe"),
        ("/home/carol/.ssh and /home/carol", "/home/USER1/.ssh and /home/USER1"),
        ("WS5.lab.example, ws5, WS55", "HOST1, HOST1, WS55"),
        (r"NT AUTHORITY\SYSTEM", r"NT AUTHORITY\SYSTEM"),
        ("10.0.0.9 to 8.8.8.8, 10.0.0.9, 127.0.0.1", "IP1 to EXT1, IP1, 127.0.0.1"),
        ("198.51.100.7 and 192.168.1.1", "EXT1 and IP1"),
        ("fe80::79bf:8ee2:433c:2567 at 12:34:56", "IP1 at TIME"),
        ("from fe80::12:34:56", "from IP1"),
        ("on 9/17/2020 11:23:15 AM and 17/9/2020", "on TIME and TIME"),
        ("2022/09/01/12:18:31, 2022/09/01 12:18:31.5", "TIME, TIME.5"),
        ("at 23:59:59.123, 99:99:99, /2022/09/01/file", "at TIME, 99:99:99, /2022/09/01/file"),
        ("ada@lab.example, eve@lab.example", "USER1, USER2"),
        ("S-1-5-21-1-2-3-500 S-1-5-18", "SID1-admin S-1-5-18"),
        ("{0197231E-9BE6-6934-5301-000000000B00}", "GUID"),
        ("at 2025-12-06T21:11:02.649150Z", "at TIME"),
        ("Rubeus.exe asktgt /user:eve /rc4:1", "Rubeus.exe asktgt /user:USER1 /rc4:1"),
        (r'net user "eve" x /add as LAB\eve', r'net user "USER1" x /add as DOMAIN1\USER1'),
        ("Account Name: ada Account Name: SYSTEM", "Account Name: USER1 Account Name: SYSTEM"),
        ("from 06.1.250.216", "from EXT1"),
        ("task_ada_x, Adam", "task_USER1_x, Adam"),
        ("deadbeefdeadbeef0 deadbeef", "HEX deadbeef"),
    ],
)
def test_what_identifies_is_masked(given, masked):
    assert identities().clean(given) == masked


def test_the_same_one_is_masked_the_same_way():
    found = identities()
    assert found.clean("8.8.4.4") == "EXT1"
    assert found.clean("1.2.3.4 8.8.4.4") == "EXT2 EXT1"


def test_varied_values_are_others_of_the_same_kind_and_depend_on_the_seed():
    text = r"ada on WS5 from 10.0.0.9 via 8.8.8.8"
    first, again, other = (identities("varied", seed).clean(text) for seed in (1, 1, 2))
    assert first == again != other
    for name in ("ada", "WS5", "10.0.0.9", "8.8.8.8"):
        assert name not in first.split()
    user, _, host, _, inside, _, outside = first.split()
    assert "." in user and host[-3:].isdigit() and inside.startswith("10.") and outside.startswith("198.51.100.")


def test_kept_keeps_all_but_what_is_never_the_same_twice():
    assert identities("kept").clean("ada 10.0.0.9 at 2025-12-06") == "ada 10.0.0.9 at TIME"
