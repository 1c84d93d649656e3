"""What the conformance plugin of every language must do. The parameter `do` says which behaviour it shows; the others are
`text`, `address`, `path`, `url`, `name`, `number`, `insecure`, `timeout`, `list` and `headers`. Each function here tests one
behaviour, with the plugin and its peers.
"""

import re
import time

from plugin import NotThere

# How the daemon reports a crash: the language's own message, as far as it reaches the daemon.
CRASH = {
    "assemblyscript": "its last words: .*Index out of range",
    "c": "its last words: on purpose",
    "cpp": "its last words: on purpose",
    "go": "panic: runtime error: index out of range",
    "python": r"IndexError: list index out of range \(.*conformance.py:\d+\)",
    "rust": "its last words: .*index out of bounds",
    "typescript": "TypeError: ",
    "zig": "its last words: on purpose",
}

# Languages whose plugins can read the environment. The others are built without WASI.
HAVE_ENVIRONMENT = {"c", "cpp", "go"}


# ---- Reports and errors ----

def each_verdict_arrives(plugin, peers):
    for verdict, status in [("pass", 0), ("warn", 0), ("fail", 1), ("fault", 1)]:
        plugin.run(f"do={verdict}", "text=as asked").is_(status, f"^{verdict}: as asked$")


def empty_message_is_a_message(plugin, peers):
    plugin.run("do=pass", "text=").passes("")


def adjustment_arrives(plugin, peers):
    plugin.run("do=adjust", "number=-42").passes("adjusted").has(r"asks for -42 on")
    plugin.run("do=adjust", "number=32767").passes("adjusted").has(r"asks for \+32767 on")


def report_without_adjustment_requests_none(plugin, peers):
    plugin.run("do=pass", "text=x").passes("x").lacks("asks for")


def metrics_arrive_with_their_units(plugin, peers):
    outcome = plugin.run("do=metrics").passes("measured")
    for metric in ["seconds = 0.25 s", "size = 1048576 B", "share = 99.5 %", "count = 3 c", "plain = -1.5", "größe = 1"]:
        outcome.has(f"^  {metric}$")


def non_finite_metrics_are_dropped(plugin, peers):
    plugin.run("do=nan").passes("measured").has("^  fine = 1$").lacks("nan|inf")


def error_arrives_with_its_reason(plugin, peers):
    plugin.run("do=error", "text=can't say: größer als 🚦").errs("can't say: größer als 🚦$")


def crash_is_an_error_with_the_language_s_message(plugin, peers):
    plugin.run("do=panic", "text=on purpose").errs(CRASH[plugin.language])


# ---- Parameters ----

def text_arrives_unchanged(plugin, peers):
    for text in ["Größe – 日本 🚦", "a=b  c\\d\"e'", "\u0301\u200b"]:
        plugin.run("do=pass", f"text={text}").passes(re.escape(text))


def big_parameter_arrives(plugin, peers):
    # The longest argument of a process: 128 KiB.
    plugin.run("do=length", "text=" + "ö" * 65_000).passes("130000 bytes")


def big_message_is_cut(plugin, peers):
    plugin.run("do=pass", "text=" + "x" * 40_000).is_(0, "^pass: x{400,512}(…|$)")


def parameters_keep_their_order_with_tables_and_lists(plugin, peers):
    params = ["list=a", "headers.accept=text/plain", "list=", "headers.x-größe=1"]
    plugin.run("do=params", *params).passes(re.escape(" ".join(params)))


def missing_parameter_is_an_error_that_names_it(plugin, peers):
    plugin.run("do=pass").errs("text")
    plugin.run().errs("do")


def parameter_of_the_wrong_type_is_an_error_that_names_it(plugin, peers):
    plugin.run("do=adjust", "number=many").errs("number.*many")
    plugin.run("do=pass", "text=x", "insecure=perhaps").errs("insecure.*perhaps")


def durations_are_written_as_in_the_configuration(plugin, peers):
    for text in ["500ms", "0s", "7d", "10 s"]:
        plugin.run("do=pass", "text=x", f"timeout={text}").passes("x")
    for text in ["", "1", "s", "-1s", "1.5s", "1s ", "1S", "1m30s", "1µs", "99999999999999999h"]:
        plugin.run("do=pass", "text=x", f"timeout={text}").errs("timeout")


def unknown_parameter_is_an_error_that_names_it(plugin, peers):
    plugin.run("do=pass", "text=x", "tekst=y").errs("tekst")


def check_knows_its_name_and_its_time_budget(plugin, peers):
    budget = plugin.run("do=context").passes(r"test \d+").number(r"^pass: test (\d+)$")
    assert 10_000 < budget <= 20_000, budget


# ---- Memo and log ----

def memo_survives_from_run_to_run(plugin, peers):
    plugin.run("do=count", options=["--runs", "5"]).passes("counted").has("^  runs = 5 c$")


def memo_takes_any_bytes(plugin, peers):
    plugin.run("do=bytes", options=["--runs", "2"]).passes("256 bytes came back")


def memo_beyond_4096_bytes_is_an_error(plugin, peers):
    plugin.run("do=remember", "number=4096").passes("remembers")
    plugin.run("do=remember", "number=4097").errs("4097.*4096|4096.*4097")


def lines_are_logged_with_their_levels(plugin, peers):
    outcome = plugin.run("do=log", "text=größer 🚦").passes("said")
    for level in ["debug", "info", "warn", "error"]:
        outcome.has(f"^  log {level}: größer 🚦$")


def too_many_lines_are_dropped_and_counted(plugin, peers):
    plugin.run("do=flood").passes("said").has("^  log info: line 19$").lacks("line 20$").has("980 more lines dropped")


# ---- Probes ----

def processes_are_found(plugin, peers):
    name = peers.process_name
    outcome = plugin.run("do=process", f"name={name}", allow={"process": [name]}).passes(f"1: {peers.process.pid} {name}")
    assert 0 < outcome.number(r"^  age = ([\d.e-]+) s$") < 3600
    plugin.run("do=process", "name=nobody-has-it", allow={"process": ["nobody-has-it"]}).fails("none")


def processes_need_a_grant(plugin, peers):
    plugin.run("do=process", "name=nginx").errs(r'allow = { process = \["nginx"\] }')


def tcp_sends_and_receives(plugin, peers):
    outcome = plugin.run("do=tcp", f"address={peers.echo}", "text=grüß", allow={"tcp": [peers.echo]})
    outcome.passes("12 bytes: echo grüß *").has(r"^  connect = \d.* s$")


def tcp_receives_a_big_answer(plugin, peers):
    outcome = plugin.run("do=tcp", f"address={peers.echo}", "text=" + "x" * 60_000, allow={"tcp": [peers.echo]})
    outcome.is_(0, "^pass: 60006 bytes: ")


def refused_connection_fails(plugin, peers):
    plugin.run("do=tcp", f"address={peers.refusing}", "text=", allow={"tcp": [peers.refusing]}).fails("tcp: connection refused")


def silent_peer_fails_at_the_timeout_of_the_probe(plugin, peers):
    outcome = plugin.run("do=tcp", f"address={peers.silent}", "text=x", "timeout=300ms", allow={"tcp": [peers.silent]})
    outcome.fails("tcp: no answer in time")
    assert 290 < outcome.number(r"took ([\d.]+) ms of") < 5000


def tcp_needs_a_grant(plugin, peers):
    plugin.run("do=tcp", f"address={peers.echo}", "text=").errs(f'allow = {{ tcp = \\["{peers.echo}"\\] }}')


def bad_address_is_an_error(plugin, peers):
    plugin.run("do=tcp", "address=nonsense", "text=").errs("nonsense")


def http_has_status_headers_and_body(plugin, peers):
    outcome = plugin.run("do=http", f"url={peers.http}", "text=grüß", allow={"http": [peers.http]})
    outcome.passes("201 because-why you said grüß").has(r"^  total = \d.* s$")


def https_needs_a_certificate_that_can_be_verified(plugin, peers):
    allow = {"http": [peers.https]}
    plugin.run("do=http", f"url={peers.https}", "text=x", allow=allow).fails("http: TLS: .*")
    plugin.run("do=http", f"url={peers.https}", "text=x", "insecure=true", allow=allow).passes("201 because-why you said x")


def http_needs_a_grant(plugin, peers):
    plugin.run("do=http", f"url={peers.http}", "text=").errs(f'allow = {{ http = \\["{peers.http}"\\] }}')


def files_have_kind_size_and_age(plugin, peers):
    allow = {"files": [f"{peers.directory}/*", str(peers.directory)]}
    outcome = plugin.run("do=stat", f"path={peers.file}", allow=allow).passes("file").has("^  size = 13 B$")
    assert 0 <= outcome.number(r"^  age = ([\d.e-]+) s$") < 3600
    plugin.run("do=stat", f"path={peers.directory}", allow=allow).passes("directory")
    plugin.run("do=stat", f"path={peers.unix}", allow=allow).passes("other")
    plugin.run("do=stat", f"path={peers.missing_file}", allow=allow).is_(0, "^warn: no such file$")


def files_are_read_up_to_max_bytes(plugin, peers):
    allow = {"files": [f"{peers.directory}/*"]}
    plugin.run("do=read", f"path={peers.file}", "number=100", allow=allow).passes("13 bytes: größe 7 up *")
    plugin.run("do=read", f"path={peers.file}", "number=6", allow=allow).passes("6 bytes: größ")
    plugin.run("do=read", f"path={peers.big_file}", "number=1000000", allow=allow).passes("300000 bytes: x{20}")
    plugin.run("do=read", f"path={peers.missing_file}", "number=1", allow=allow).is_(0, "^warn: no such file$")


def file_systems_have_a_size(plugin, peers):
    outcome = plugin.run("do=space", f"path={peers.directory}", allow={"files": [str(peers.directory)]}).passes("true")
    assert outcome.number(r"^  total = (\d+) B$") > 1 << 20


def files_need_a_grant(plugin, peers):
    for do in ["stat", "read", "space"]:
        plugin.run(f"do={do}", "path=/etc/hostname").errs(r'allow = { files = \["/etc/hostname"\] }')


def names_are_resolved(plugin, peers):
    plugin.run("do=resolve", "name=localhost", allow={"dns": ["localhost"]}).is_(0, r"^pass: .*(127\.0\.0\.1|::1)")


def names_need_a_grant(plugin, peers):
    plugin.run("do=resolve", "name=db.example.com").errs(r'allow = { dns = \["db.example.com"\] }')


def links_and_addresses_need_no_grant(plugin, peers):
    plugin.run("do=links", "name=lo").passes("lo up=true carrier=true")
    plugin.run("do=links", "name=none0").fails("no such link")
    plugin.run("do=addresses", "address=127.0.0.1").passes("lo 127.0.0.1/8")


def connection_carries_several_lines(plugin, peers):
    said = r"220 hello\|250 more\|ok grüß"
    plugin.run("do=talk", f"address={peers.talking}", "text=grüß", allow={"tcp": [peers.talking]}).passes(said)
    plugin.run("do=talk", f"path={peers.unix}", "text=grüß", allow={"unix": [peers.unix]}).passes(said)


def connection_without_an_answer_fails_in_time(plugin, peers):
    allow = {"tcp": [peers.silent, peers.refusing]}
    plugin.run("do=talk", f"address={peers.silent}", "text=", "timeout=300ms", allow=allow).fails("talk: no answer in time")
    plugin.run("do=talk", f"address={peers.refusing}", "text=", allow=allow).fails("talk: connection refused")


def connection_continues_with_tls(plugin, peers):
    run = ["do=starttls", f"address={peers.talking}", "name=peer.test", "text=grüß"]
    allow = {"tcp": [peers.talking]}
    outcome = plugin.run(*run, "insecure=true", allow=allow)
    shown = "(CN=peer.test, O=Größe|O=Größe, CN=peer.test)"
    outcome.passes(rf"TLSv1\.3 {shown} {shown} peer.test,other.test ok grüß").has("^  days = 30$").has("^  log info: .*cert.*")
    plugin.run(*run, allow=allow).fails("starttls: TLS: .*cert.*")


def connections_need_a_grant(plugin, peers):
    plugin.run("do=talk", f"address={peers.talking}", "text=").errs(f'allow = {{ tcp = \\["{peers.talking}"\\] }}')
    plugin.run("do=talk", f"path={peers.unix}", "text=").errs(f'allow = {{ unix = \\["{peers.unix}"\\] }}')


def closed_connection_makes_room_for_the_next(plugin, peers):
    plugin.run("do=many", f"address={peers.closing}", "number=20", allow={"tcp": [peers.closing]}).passes("20 connections")


def more_open_connections_than_allowed_are_denied(plugin, peers):
    plugin.run("do=hoard", f"address={peers.talking}", "number=5", allow={"tcp": [peers.talking]}).errs("limits.connections = 4")


def clock_is_that_of_the_host(plugin, peers):
    shown = plugin.run("do=clock").passes(r"\d+").number(r"^pass: (\d+)$")
    assert abs(shown / 1000 - time.time()) < 20, shown


def granted_environment_is_visible(plugin, peers):
    if plugin.language not in HAVE_ENVIRONMENT:
        raise NotThere("it is built without WASI, which provides the environment")
    plugin.run("do=env", "name=CONFORMANCE", allow={"env": {"CONFORMANCE": "größe"}}).passes("größe")
    plugin.run("do=env", "name=HOME").passes("")


# ---- Limits ----

def endless_loop_ends_with_the_timeout(plugin, peers):
    plugin.run("do=loop", timeout="500ms").is_(1, "^timed out after 500ms, which counts as fail$")


def endless_loop_ends_with_the_cpu_limit(plugin, peers):
    plugin.run("do=loop", limits={"cpu": '"100ms"'}).errs(r"limits\.cpu = 100 ms")


def endless_growth_ends_with_the_memory_limit(plugin, peers):
    plugin.run("do=memory").errs(r"limits\.memory|MemoryError|out of memory")


def endless_recursion_is_an_error(plugin, peers):
    plugin.run("do=recurse", "number=0").errs("")


BEHAVIOURS = [found for found in list(globals().values()) if callable(found) and not isinstance(found, type)]
