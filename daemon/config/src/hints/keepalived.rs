//! The keywords of keepalived, and what to do instead.

use Instead::{Say, Write};

/// What replaces a keyword.
#[derive(Debug, Clone, Copy)]
enum Instead {
    /// These keys of vouchd.
    Write(&'static str),
    /// Anything else; the complete sentence.
    Say(&'static str),
}

/// A hint that follows "unknown key". `None`: it is not a keyword of keepalived.
pub(crate) fn hint(keyword: &str) -> Option<String> {
    let keyword = keyword.to_ascii_lowercase();
    let exact = KEYWORDS.iter().find(|(words, _)| words.contains(&keyword.as_str())).map(|(_, instead)| *instead);
    let family = || FAMILIES.iter().find(|(start, _)| keyword.starts_with(start)).map(|(_, instead)| *instead);
    // Many keywords also exist as global ones with this prefix.
    let global = || {
        let rest = keyword.strip_prefix("vrrp_")?;
        KEYWORDS.iter().find(|(words, _)| words.contains(&rest)).map(|(_, instead)| *instead)
    };
    Some(match exact.or_else(global).or_else(family)? {
        Write(ours) => format!(" (a keyword of keepalived; write {ours} instead)"),
        Say(sentence) => format!(" (a keyword of keepalived; {sentence})"),
    })
}

/// Whether this word begins a block of keepalived.conf.
pub(crate) fn is_block(word: &str) -> bool {
    const BLOCKS: [&str; 14] = [
        "global_defs",
        "vrrp_instance",
        "vrrp_script",
        "vrrp_sync_group",
        "vrrp_track_process",
        "vrrp_track_file",
        "bfd_instance",
        "virtual_server",
        "virtual_server_group",
        "static_ipaddress",
        "static_routes",
        "static_rules",
        "garp_group",
        "track_group",
    ];
    BLOCKS.contains(&word)
}

const AUTH: Instead = Write("`auth = { type = \"pass\", password = \"...\" }`");
const UNICAST: Instead = Write("`unicast = { source = \"...\", peers = [\"...\"] }`");
const NO_SCRIPTS: Instead = Say(
    "leave it out: checks are plugins, and all of them run in one process without privileges, as `user` in `[daemon]`",
);
const NO_NOTIFY: Instead =
    Say("this version has no hooks: leave it out, and let programs that follow the state poll `vouchd status --json`");
const NO_MAIL: Instead =
    Say("vouchd sends no mail: leave it out, and let your monitoring read `vouchd status --json` or the log");
const NO_SNMP: Instead = Say("vouchd has no SNMP and no D-Bus: leave it out, and read `vouchd status --json`");
const NO_LVS: Instead = Say("vouchd does no load balancing (IPVS): leave that to another daemon");
const NO_STATIC: Instead =
    Say("vouchd moves only what follows the state: leave it out, and configure permanently what every node always has");
const NO_BFD: Instead =
    Say("vouchd has no BFD: with version = 3, a short `advert_interval` detects a dead router within 30 ms");
const NO_FIREWALL: Instead =
    Say("leave it out: vouchd sets the few rules that `accept = false` needs in a table of its own");
const NO_STRICT: Instead = Say(
    "leave it out: vouchd follows the RFC as keepalived's strict mode does; docs/conformance.md lists the exceptions",
);
const NO_CHECK_SKIP: Instead = Say("leave it out: addresses are always compared");
const ALWAYS_ANSWERS: Instead =
    Say("leave it out: vouchd answers an advertisement of lower priority, as RFC 9568 section 6.4.3 requires");
const NO_SCHEDULING: Instead = Say("leave it out: `realtime` in `[daemon]`, which is on by default, covers it");
const NO_BUFFERS: Instead = Say("leave it out: vouchd sizes its sockets itself");
const LINK_IS_WATCHED: Instead =
    Say("leave it out: an instance whose link goes down always leaves the election, without polling");

const KEYWORDS: &[(&[&str], Instead)] = &[
    // Blocks
    (&["global_defs"], Write("`[daemon]`")),
    (&["vrrp_instance"], Write("`[instance.NAME]`")),
    (&["vrrp_script"], Write("`[check.NAME]`")),
    (&["vrrp_track_process"], Write("`[check.NAME]` with `plugin = \"process\"`")),
    (
        &["vrrp_track_file", "track_file"],
        Write("`[check.NAME]` with `plugin = \"file\"` and `params = { path = \"...\", weight = true }`"),
    ),
    (&["vrrp_sync_group", "group"], Write("`[group.NAME]` with `instances = [\"...\"]`")),
    (
        &["sync_group_tracking_weight", "global_tracking"],
        Say("leave it out: a lower priority of one instance always lowers all instances of its group"),
    ),
    // The protocol
    (&["advert_int"], Write("`advert_interval = \"1s\"`")),
    (&["vrid"], Write("`virtual_router_id`")),
    (&["vrrp_version"], Write("`version` in each instance")),
    (&["authentication", "auth_type", "auth_pass"], AUTH),
    (
        &["auth_hmac", "active_key", "anti_replay", "time_window"],
        Write("`auth = { type = \"hmac\", keys = [{ id = 1, file = \"/etc/vouchd/vrrp.key\" }] }`"),
    ),
    (&["unicast_src_ip", "unicast_peer"], UNICAST),
    (
        &["check_unicast_src", "unicast_fault_no_peer"],
        Say(
            "leave it out: with `unicast`, advertisements from routers other than the peers are always discarded, and at least one peer is needed",
        ),
    ),
    (&["unicast_ttl", "max_ttl"], Say("leave it out: vouchd always sends with a TTL of 255")),
    (&["min_ttl"], Write("`peers = [{ address = \"...\", hop_limit = 250 }]`")),
    (&["native_ipv6"], Say("leave it out: the addresses tell the family")),
    (&["mcast_src_ip"], Write("`multicast = { source = \"...\" }`")),
    (&["mcast_dst_ip", "mcast_group4", "mcast_group6"], Write("`multicast = { group = \"...\" }`")),
    (&["v3_checksum_as_v2"], Write("`checksum = \"message-only\"`")),
    (
        &["old_unicast_checksum"],
        Say("leave it out: it works around a bug of keepalived before 1.3.6, which vouchd does not have"),
    ),
    (&["strict_mode", "strict"], NO_STRICT),
    (&["skip_check_adv_addr"], NO_CHECK_SKIP),
    (
        &["owner_ignore_adverts"],
        Say("leave it out: an owner (priority = 255) treats advertisements as the RFC requires"),
    ),
    (&["lower_prio_no_advert", "higher_prio_send_advert"], ALWAYS_ANSWERS),
    (
        &["timer_expired_backup", "thread_timer_expired"],
        Say("leave it out: a router that was not scheduled in time always listens before it takes over"),
    ),
    (&["down_timer_adverts"], Write("`down_timer_adverts` in the instance")),
    (&["log_unknown_vrids"], Say("leave it out: `vouchd status --json` counts discarded packets by reason")),
    (
        &[
            "kernel_rx_buf_size",
            "netlink_cmd_rcv_bufs",
            "netlink_cmd_rcv_bufs_force",
            "netlink_monitor_rcv_bufs",
            "netlink_monitor_rcv_bufs_force",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
        ],
        NO_BUFFERS,
    ),
    (&["vrf"], Say("not available in this version: leave it out")),
    // The state machine
    (
        &["state", "initial_state"],
        Say("leave it out: every router starts as backup, and the priorities elect the active one"),
    ),
    (&["nopreempt"], Write("`preempt = false`")),
    (&["preempt_delay"], Write("`preempt_delay = \"10s\"` in the instance")),
    (&["startup_delay"], Write("`startup_delay = \"10s\"` in `[daemon]`")),
    (&["delay_after_boot"], Write("`delay_after_boot = \"10s\"` in `[daemon]`")),
    (&["dont_track_primary"], Write("`track_link = false`")),
    (&["interface_up_down_delays"], Write("`link_delay = \"500ms\"`")),
    (
        &["track_src_ip"],
        Say("leave it out: an instance without its source address takes no part until the address is back"),
    ),
    (&["track_script"], Write("`checks`")),
    (&["track_process"], Write("`checks`, with a check whose `plugin = \"process\"`")),
    (&["track_interface"], Write("`track = [{ interface = \"eth1\", weight = -20 }]`")),
    (&["linkbeat_use_polling", "linkbeat_interfaces", "linkbeat"], LINK_IS_WATCHED),
    // Addresses
    (&["virtual_ipaddress"], Write("`addresses`")),
    (&["virtual_ipaddress_excluded"], Write("`extra_addresses`")),
    (&["no_virtual_ipaddress"], Write("`addresses = []`")),
    (
        &["label", "scope", "brd", "dev", "peer", "home", "mngtmpaddr", "noprefixroute", "autojoin", "preferred_lft"],
        Write("`{ address = \"192.0.2.1/24\", interface = \"eth1\", label = \"eth1:1\", broadcast = true }`"),
    ),
    (&["no_track"], Say("leave it out: vouchd puts an address back that somebody else removed")),
    (&["virtual_routes"], Write("`routes = [\"10.0.0.0/8 via 192.0.2.254\"]`")),
    (&["virtual_rules"], Write("`rules = [\"from 10.0.0.0/8 lookup 100 priority 10\"]`")),
    (&["static_ipaddress", "static_routes", "static_rules", "track_group"], NO_STATIC),
    (&["use_vmac"], Write("`virtual_mac = true`")),
    (
        &["vmac_xmit_base", "use_vmac_addr", "vmac_prefix", "vmac_addr_prefix", "use_ipvlan"],
        Say("leave it out: `virtual_mac = true` puts the virtual addresses on an interface with the virtual MAC"),
    ),
    (&["accept"], Write("`accept = true`")),
    (&["no_accept"], Write("`accept = false`")),
    (&["iptables", "ipsets", "disable_local_igmp"], NO_FIREWALL),
    (
        &["promote_secondaries"],
        Say("leave it out, and set it with sysctl: `net.ipv4.conf.all.promote_secondaries = 1`"),
    ),
    (&["default_interface"], Write("`interface` in each instance")),
    (&["dynamic_interfaces"], Say("leave it out: an instance waits for its interface")),
    // ARP
    (&["garp_master_delay"], Write("`garp = { delay = \"5s\" }`")),
    (&["garp_master_repeat"], Write("`garp = { repeat = 5 }`")),
    (&["garp_master_refresh"], Write("`garp = { refresh = \"60s\" }`")),
    (&["garp_master_refresh_repeat"], Write("`garp = { refresh_repeat = 1 }`")),
    (&["min_garp"], Write("`garp = { repeat = 1, delay = \"0s\" }`")),
    (
        &["garp_lower_prio_repeat", "garp_lower_prio_delay"],
        Say("leave it out: vouchd announces addresses again whenever another router was active"),
    ),
    (
        &["garp_interval", "gna_interval", "garp_group", "garp_extra_if"],
        Say("leave it out: `garp` of the instance sets how often addresses are announced"),
    ),
    // Checks
    (&["script"], Say("write `plugin`: a check is a WebAssembly plugin, not a script")),
    (&["process"], Write("`params = { name = \"...\" }` of a check with `plugin = \"process\"`")),
    (
        &["param_match", "full_command"],
        Write("`params = { cmdline = \"...\" }` of a check with `plugin = \"process\"`"),
    ),
    (&["quorum"], Write("`params = { min = 2 }` of a check with `plugin = \"process\"`")),
    (&["quorum_max"], Write("`params = { max = 2 }` of a check with `plugin = \"process\"`")),
    (&["delay", "fork_delay", "terminate_delay"], Write("`rise` and `fall` of the check")),
    (&["file"], Write("`params = { path = \"...\" }` of a check with `plugin = \"file\"`")),
    (&["init_fail", "init_file"], Say("leave it out: a check that has no result yet never counts as a pass")),
    (
        &["reverse", "noreverse"],
        Say("leave it out: a `weight` above 0 is added while the check passes, one below 0 while it fails"),
    ),
    (&["user", "script_user", "enable_script_security"], NO_SCRIPTS),
    // Operation
    (&["router_id"], Write("`name` in `[daemon]`")),
    (&["priority_changes"], NO_NOTIFY),
    (
        &[
            "vrrp_priority",
            "rt_priority",
            "rlimit_rttime",
            "no_swap",
            "cpu_affinity",
            "max_auto_priority",
            "min_auto_priority_delay",
            "rlimit_rtime",
        ],
        NO_SCHEDULING,
    ),
    (
        &["net_namespace", "net_namespace_ipvs"],
        Say("leave it out, and start vouchd in the namespace with `NetworkNamespacePath=` in the unit"),
    ),
    (
        &["instance_name", "use_pid_dir", "process_names", "process_name", "data_use_instance"],
        Say("leave it out: several daemons on one host differ in `control` of `[daemon]`"),
    ),
    (
        &["json_version", "dump_file", "state_dump_file", "stats_dump_file", "json_dump_file"],
        Say("leave it out, and read `vouchd status --json`"),
    ),
    (
        &["include", "includet", "includer", "includem"],
        Say("leave it out: vouchd reads the files in `conf.d` beside the main file"),
    ),
    (
        &["reload_check_config", "reload_time_file", "reload_repeat", "reload_file", "config_save_dir"],
        Say("leave it out: a configuration with an error never replaces the running one"),
    ),
    (&["umask"], Say("leave it out, and write `UMask=` in the unit")),
    (&["random_seed"], Say("leave it out: vouchd uses no random numbers for the protocol")),
    (&["tmp_config_directory"], Say("leave it out: vouchd makes no copies of the configuration")),
    (&["debug"], Say("leave it out, and set the environment variable `VOUCHD_LOG=debug`")),
    (&["lvs_sync_daemon", "lvs_flush", "checker_log_all_failures"], NO_LVS),
    (
        &["shutdown_script", "startup_script", "shutdown_script_timeout", "startup_script_timeout"],
        Say("leave it out, and write `ExecStartPre=` or `ExecStopPost=` in the unit"),
    ),
];

/// Keywords by their prefix, for those that have no entry in `KEYWORDS`.
const FAMILIES: &[(&str, Instead)] = &[
    ("notify", NO_NOTIFY),
    ("vrrp_notify", NO_NOTIFY),
    ("fifo_", NO_NOTIFY),
    ("smtp_", NO_MAIL),
    ("notification_", NO_MAIL),
    ("enable_snmp", NO_SNMP),
    ("snmp_", NO_SNMP),
    ("enable_traps", NO_SNMP),
    ("enable_dbus", NO_SNMP),
    ("dbus_", NO_SNMP),
    ("nftables", NO_FIREWALL),
    ("vrrp_iptables", NO_FIREWALL),
    ("vrrp_ipsets", NO_FIREWALL),
    ("bfd_", NO_BFD),
    ("track_bfd", NO_BFD),
    ("vrrp_rx_bufs", NO_BUFFERS),
    ("rx_bufs", NO_BUFFERS),
    ("virtual_server", NO_LVS),
    ("real_server", NO_LVS),
    ("lb_", NO_LVS),
    ("lvs_", NO_LVS),
    ("ipvs_", NO_LVS),
    ("checker_", NO_LVS),
    ("garp_", Say("leave it out: `garp` of the instance sets how often addresses are announced")),
];
