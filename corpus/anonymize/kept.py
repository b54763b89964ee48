"""What identifies no one and therefore stays: system accounts, tools, words of logs, public services."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


SYSTEM_ACCOUNTS = frozenset(
    words(
    """
    root system nobody daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nt sshd ftp
    messagebus syslog systemd-network systemd-resolve systemd-timesync polkitd dbus ntp chrony rpc rpcuser postfix
    dovecot apache nginx httpd mysql postgres redis mongodb oracle tomcat jenkins git nagios zabbix docker www halt
    shutdown operator adm administrator administrateur admin guest user test ubuntu centos debian fedora ec2-user pi
    vagrant ansible support default defaultaccount wdagutilityaccount krbtgt public everyone anonymous
    anonymous-logon anonymous_user local service network interactive batch iusr iis_iusrs trustedinstaller owner
    unknown none null localservice networkservice localsystem authority builtin workgroup window manager font driver
    host umfd-0 umfd-1 umfd-2 umfd-3 dwm-1 dwm-2 dwm-3 localhost localdomain local broadcasthost all any self na
    true false
    """
)
) | {
    "local service", "network service", "nt authority", "nt service", "window manager", "font driver host",
    "anonymous logon", "authenticated users", "all users", "default user", "default host", "local system",
    "creator owner", "domain admins", "domain users", "enterprise admins", "domain computers", "domain controllers",
    "nt virtual machine", "application package authority", "consolehost", "n/a", "logged-in user",
}  # fmt: skip

WORDS = frozenset(
    words(
        """
    mimikatz psexec powershell pwsh cmd rundll32 regsvr32 certutil bitsadmin wmic wscript cscript mshta msbuild
    svchost lsass winlogon services explorer bash sudo ssh curl wget nmap netcat hydra rubeus sharphound bloodhound
    empire metasploit meterpreter cobaltstrike impacket crackmapexec procdump python perl ruby java node kubectl
    password passwd username hostname computer domain account message error warning info debug notice critical
    failed failure success successful accepted rejected invalid denied allowed blocked opened closed connection
    connected disconnected session process thread event source destination target subject client server port
    protocol request response status version level type name value path file folder image command line query key for
    from with and the not was has been this that user users group groups login logon logoff logout auth
    authentication authorization policy rule alert action reason result code data time date start stop end begin
    windows linux microsoft security application system32 kernel driver device network firewall internet web http
    https dns tcp udp icmp smb rdp ldap kerberos ntlm get post put head delete options create update read write open
    close add remove set list describe null true false yes online offline registry task job agent sensor manager
    console local remote global internal external home desktop documents downloads temp default program programs com
    net org www api cloud aws azure gcp google amazon sql log logs syslog audit console default-host example sample
    unix ipv4 ipv6 microsoft-windows app apps dev demo boot cgi cms portal deploy web db database cache proxy main
    prod production staging build master slave primary backup monitor monitoring report reports mail email webmail
    photo video music game games shop store blog forum wiki help office phone hotel school library radio live
    """
    )
)

# Parts of registered domains that belong to a product or a public service and have no customers' names below them.
PUBLIC_DOMAINS = frozenset(
    words(
        """
    amazonaws.com amazon.com microsoft.com windows.com windowsupdate.com msftncsi.com msftconnecttest.com msn.com
    bing.com live.com office.com office365.com microsoftonline.com windows.net azure.com visualstudio.com skype.com
    google.com googleapis.com gstatic.com google-analytics.com gmail.com googlemail.com outlook.com hotmail.com
    yahoo.com github.com githubusercontent.com gitlab.com mozilla.org mozilla.com firefox.com ubuntu.com debian.org
    centos.org fedoraproject.org redhat.com kernel.org gnu.org apache.org nginx.org python.org pypi.org npmjs.org
    w3.org xmlsoap.org oasis-open.org ietf.org openssh.com libssh.org digicert.com verisign.com symantec.com
    globalsign.com letsencrypt.org lencr.org adobe.com apple.com icloud.com docker.com docker.io elastic.co
    splunk.com crowdstrike.com mitre.org virustotal.com sysinternals.com asp.net system.net microsoft.net
    command.com java.net pool.ntp.org ntp.org lysator.liu.se
    """
    )
)
# `curve25519-sha256@libssh.org` is the name of an algorithm, no mailbox.
ALGORITHM_DOMAINS = frozenset({"openssh.com", "libssh.org", "lysator.liu.se"})

SERVICE_LABELS = frozenset(
    words(
        """
    www www2 ftp mail smtp imap pop pop3 mx ns ns1 ns2 dns vpn api cdn static img images login auth sso proxy ntp
    _ldap _tcp _udp _kerberos _msdcs _sites _gc dc gc pdc domains forestdnszones domaindnszones
    default-first-site-name autodiscover owa ldap kerberos wpad isatap
    """
    )
)

# Top-level domains that are no file extension and no name of a program's namespace.
CLEAR_TLDS = frozenset(
    words(
        """
    com net org edu gov mil int biz local lan corp internal intranet localdomain arpa onion example invalid uk de fr
    nl eu ch es se fi dk ru cn jp au ca kr tw hk sg nz za mx ar cl pt gr cz hu ro ua tr il ie lu sk bg hr lt lv ee
    vn th ir pk ng ke eg sa ae kz by ge xyz top site online club icu ddns
    """
    )
)

# Access rights and properties whose abuse is recognised by the GUID (DCSync, certificate enrolment), as in MS-ADTS.
PUBLIC_GUIDS = frozenset(
    {
        "89e95b76-444d-4c62-991a-0facbeda640c",
        "0e10c968-78fb-11d2-90d4-00c04f79dc55",
        "a05b8cc2-17bc-4802-a710-e7c15ab866a2",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    }
)
# COM classes and Microsoft's own version-1 GUIDs carry these nodes.
PUBLIC_GUID_NODES = ("000000000046", "00c04f", "00a0c9", "00aa00", "08002b", "00805f", "00a0d1")
