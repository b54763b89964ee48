"""Words that the invented company and its surroundings are made of."""


def _words(text: str) -> list[str]:
    return text.split()


SERVICES = [
    "www",
    "cdn",
    "api",
    "static",
    "img",
    "assets",
    "login",
    "mail",
    "update",
    "telemetry",
    "fonts",
    "sync",
    "media",
    "edge",
    "docs",
]
# Reserved for documentation and benchmarks (RFC 5737, RFC 2544): nobody's addresses.
NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
BENCHMARK_NETWORKS = tuple(f"198.{low}.{third}" for low in (18, 19) for third in range(0, 256, 5))
HELPERS = _words("svc_report svc_scan svc_sync svc_print svc_crm helpdesk trainee temp")
ACCOUNTS = _words(
    """
    backup deploy monitor ansible jenkins
    """
)
GUESSES = _words(
    """
    root admin test oracle ubuntu postgres user guest git ftpuser mysql pi support nagios tomcat hadoop
    administrator webmaster www info
    """
)
PAGES = _words(
    """
    / /index.php /products /products/overview /about /contact /news /news/2025 /careers /login /login.php
    /search /account /account/orders /cart /checkout /support /support/tickets /downloads /docs/start /docs/api
    /pricing /blog /blog/page/2 /partners /legal/privacy /feed.xml /robots.txt /sitemap.xml /favicon.ico
    /upload.php /api/v1/items /api/v1/session /api/v1/search /wp-login.php /admin/ /status
    """
)
ASSETS = _words(
    """
    /static/css/main.css /static/js/app.js /static/js/vendor.js /static/img/logo.svg /static/img/hero.jpg
    /static/fonts/inter.woff2 /static/img/team.jpg /static/js/chat.js /uploads/brochure.pdf
    /uploads/avatar_small.png /static/css/print.css /uploads/catalogue.pdf
    """
)
TERMS = [
    "invoice",
    "pump",
    "filter",
    "shipping",
    "returns",
    "manual",
    "warranty",
    "contact",
    "spare",
    "delivery",
    "price",
    "order",
    "size",
]
DOCUMENTS = _words(
    """
    budget forecast report minutes contract offer payroll roadmap inventory orders invoices holiday presentation
    agenda training audit
    """
)
EXTENSIONS = ["docx", "xlsx", "pptx", "pdf", "txt", "csv"]
# What each program of Windows says of itself: description and company.
PROGRAMS = {
    "chrome.exe": ("Google Chrome", "Google LLC"),
    "msedge.exe": ("Microsoft Edge", "Microsoft Corporation"),
    "firefox.exe": ("Firefox", "Mozilla Corporation"),
    "cmd.exe": ("Windows Command Processor", "Microsoft Corporation"),
    "powershell.exe": ("Windows PowerShell", "Microsoft Corporation"),
    "winword.exe": ("Microsoft Word", "Microsoft Corporation"),
    "excel.exe": ("Microsoft Excel", "Microsoft Corporation"),
    "outlook.exe": ("Microsoft Outlook", "Microsoft Corporation"),
    "svchost.exe": ("Host Process for Windows Services", "Microsoft Corporation"),
    "rundll32.exe": ("Windows host process (Rundll32)", "Microsoft Corporation"),
    "schtasks.exe": ("Task Scheduler Configuration Tool", "Microsoft Corporation"),
    "reg.exe": ("Registry Console Tool", "Microsoft Corporation"),
    "net.exe": ("Net Command", "Microsoft Corporation"),
    "whoami.exe": ("whoami - displays logged on user information", "Microsoft Corporation"),
    "certutil.exe": ("CertUtil.exe", "Microsoft Corporation"),
    "vssadmin.exe": ("Command Line Interface for Volume Shadow Copy Service", "Microsoft Corporation"),
    "procdump64.exe": ("Sysinternals process dump utility", "Sysinternals - www.sysinternals.com"),
}
SYSTEM_PROCESSES = {
    "explorer": r"C:\Windows\explorer.exe",
    "services": r"C:\Windows\System32\services.exe",
    "svchost": r"C:\Windows\System32\svchost.exe",
    "lsass": r"C:\Windows\System32\lsass.exe",
    "wmiprvse": r"C:\Windows\System32\wbem\WmiPrvSE.exe",
    "msmpeng": r"C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.25010.11-0\MsMpEng.exe",
    "taskhost": r"C:\Windows\System32\taskhostw.exe",
    "system": "System",
}
# Programs that run from logon on, where browser and mail are seen too.
USER_PROCESSES = {
    "browser": r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    "outlook": r"C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE",
    "teams": r"C:\Program Files\WindowsApps\MSTeams\ms-teams.exe",
}
STORAGE = _words("files.cloudbox.example drive.docspace.example share.sendfast.example blob.objectstore.example")
CHATS = _words("hooks.teamtalk.example api.chatgram.example gist.codehub.example")
BUCKETS = _words("backups reports invoices media logs exports website builds")
CLOUD_APPS = ["Office 365 Exchange Online", "Microsoft Teams", "SharePoint Online", "Azure Portal", "Azure CLI"]
CLOUD_TOOLS = [
    "aws-cli/2.22.{digit} Python/3.12.6 Windows/10",
    "Boto3/1.35.{digit} md/Botocore Python/3.11.9",
    "aws-cli/2.22.{digit} Python/3.12.6 Linux/6.8",
    "S3 Browser/11.{digit}.5",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.{digit}",
]
REGIONS = _words("eu-central-1 eu-west-1 us-east-1 us-west-2")
# Images that programs load, by program; those of all programs under "".
LOADED = {
    "": [
        rf"C:\Windows\System32\{name}.dll"
        for name in ("ntdll", "kernel32", "KernelBase", "rpcrt4", "combase", "bcryptprimitives")
    ],
    "powershell.exe": [
        r"C:\Windows\assembly\NativeImages_v4.0.30319_64\System.Manaa57fc8cc#\System.Management.Automation.ni.dll",
        r"C:\Windows\System32\amsi.dll",
    ],
    "chrome.exe": [r"C:\Windows\System32\dbghelp.dll", r"C:\Windows\System32\winhttp.dll"],
    "winword.exe": [r"C:\Windows\System32\vbscript.dll", r"C:\Windows\System32\winspool.drv"],
    "excel.exe": [r"C:\Windows\System32\winspool.drv", r"C:\Windows\System32\taskschd.dll"],
    "svchost.exe": [
        r"C:\Windows\System32\perfos.dll",
        r"C:\Windows\System32\taskschd.dll",
        r"C:\Windows\System32\wbemcomn.dll",
    ],
    "wmic.exe": [r"C:\Windows\System32\wbemcomn.dll", r"C:\Windows\System32\vbscript.dll"],
    "net.exe": [r"C:\Windows\System32\samcli.dll", r"C:\Windows\System32\netutils.dll"],
    "schtasks.exe": [r"C:\Windows\System32\taskschd.dll"],
    "vssadmin.exe": [r"C:\Windows\System32\vsstrace.dll"],
    "procdump64.exe": [r"C:\Windows\System32\dbghelp.dll", r"C:\Windows\System32\dbgcore.dll"],
    "rundll32.exe": [r"C:\Windows\System32\dbghelp.dll", r"C:\Windows\System32\imagehlp.dll"],
    "reg.exe": [r"C:\Windows\System32\ntmarta.dll"],
}
MODULES = {
    r"c:\windows\system32\ntdll.dll": "NT Layer DLL",
    r"c:\windows\system32\kernel32.dll": "Windows NT BASE API Client DLL",
    r"c:\windows\system32\kernelbase.dll": "Windows NT BASE API Client DLL",
    r"c:\windows\system32\rpcrt4.dll": "Remote Procedure Call Runtime",
    r"c:\windows\system32\combase.dll": "Microsoft COM for Windows",
    r"c:\windows\system32\amsi.dll": "Anti-Malware Scan Interface",
    r"c:\windows\system32\dbghelp.dll": "Windows Image Helper",
    r"c:\windows\system32\taskschd.dll": "Task Scheduler COM API",
    r"c:\windows\system32\perfos.dll": "Windows System Performance Objects DLL",
    r"c:\windows\system32\samcli.dll": "Security Accounts Manager Client DLL",
}
FRAMES = _words(
    "RPCRT4.dll combase.dll windows.storage.dll ole32.dll SHELL32.dll advapi32.dll sechost.dll ucrtbase.dll"
)
# Lines of modules that administrators load.
SCRIPT = [
    "    [CmdletBinding(SupportsShouldProcess = $true)]",
    "    param([Parameter(Mandatory = $true)][string[]]$ComputerName, [int]$Timeout = {number}, [switch]$Force)",
    "    begin { $errors = 0; Set-StrictMode -Version Latest; $started = Get-Date }",
    "function Get-ServiceReport {",
    "function Set-PrinterDefault {",
    "    foreach ($computer in $ComputerName) {",
    "        try { $service = Get-Service -ComputerName $computer -Name {account} -ErrorAction Stop }",
    '        catch [System.InvalidOperationException] { Write-Warning "$computer does not answer"; $errors++ }',
    "        $disk = Get-CimInstance Win32_LogicalDisk -ComputerName $computer -Filter 'DriveType = 3'",
    "        if ($disk.FreeSpace / $disk.Size -lt 0.{digit}) { $report += [pscustomobject]@{ Name = $computer } }",
    '        $share = "\\\\$computer\\c$\\Temp\\report-{hex4}.csv"',
    "    # Spooler and updates are looked after by another task.",
    "    $report | Sort-Object Name | Export-Csv -NoTypeInformation -Path C:\\Reports\\{document}.csv",
    '    end { Write-Verbose "$errors errors since $started"; return $report }',
    "}",
]
PORT_NAMES = {
    22: "ssh",
    80: "http",
    88: "kerberos",
    135: "epmap",
    389: "ldap",
    443: "https",
    445: "microsoft-ds",
    465: "smtps",
    3389: "ms-wbt-server",
    8443: "https-alt",
}
