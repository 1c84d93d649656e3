//! Guesses what was meant by an unknown name.

mod keepalived;

pub(crate) use keepalived::{hint as for_keepalived, is_block};

/// The table that each key belongs to, for keys in the wrong table.
const TABLES: [(&str, &[&str]); 11] = [
    (
        "an instance, below [instance.NAME]",
        &[
            "interface",
            "virtual_router_id",
            "priority",
            "version",
            "advert_interval",
            "auth",
            "preempt",
            "addresses",
            "unicast",
            "checks",
            "lease",
            "adopt",
            "checksum",
            "garp",
            "routes",
            "rules",
            "extra_addresses",
            "multicast",
            "routers",
            "virtual_mac",
            "accept",
            "track",
            "track_link",
            "link_delay",
            "preempt_delay",
            "startup_delay",
            "down_timer_adverts",
        ],
    ),
    (
        "a check, below [check.NAME]",
        &[
            "plugin",
            "sha256",
            "params",
            "interval",
            "timeout",
            "fast_interval",
            "rise",
            "fall",
            "weight",
            "warn_weight",
            "adjust",
            "on_error",
            "allow",
            "limits",
            "exit_codes",
        ],
    ),
    (
        "[daemon]",
        &[
            "plugin_dir",
            "builtin_plugin_dir",
            "plugin_keys",
            "control",
            "cache_dir",
            "error_grace",
            "realtime",
            "delay_after_boot",
        ],
    ),
    ("[daemon], or to the params of a check", &["name"]),
    ("a group, below [group.NAME]", &["instances"]),
    ("`unicast` of an instance", &["source", "peers", "hop_limit"]),
    ("an address in `addresses`", &["label", "scope", "broadcast", "manage_temporary", "no_prefix_route", "auto_join"]),
    ("`auth` of an instance", &["type", "password", "keys", "active_key", "mode", "anti_replay", "time_window", "hex"]),
    ("`garp` of an instance", &["repeat", "refresh", "refresh_repeat"]),
    (
        "`limits` of a check",
        &["memory", "cpu", "table_elements", "output", "log_lines", "connections", "probes", "probe_bytes"],
    ),
    ("the `params` of a check", &["url", "path", "address", "host", "port", "cmdline", "min", "max"]),
];

/// A hint that follows "unknown key": ` (... write ... instead)`, ` (did you mean ...?)`, or nothing.
pub(crate) fn for_key(unknown: &str, known: &[&str]) -> String {
    // One wrong letter is a typing mistake, whatever the word means elsewhere.
    let lower = unknown.to_lowercase();
    let is_typed = known.iter().any(|key| strsim::damerau_levenshtein(&lower, key) <= 1);
    if let Some(hint) = keepalived::hint(unknown).filter(|_| !is_typed && table_of(&lower).is_none()) {
        return hint;
    }
    let meant = nearest(unknown, known.iter().copied());
    match (meant.filter(|_| is_typed), table_of(&lower)) {
        (Some(key), Some(table)) => format!(" (did you mean `{key}`? By this name it belongs to {table})"),
        (None, Some(table)) => format!(" here (it belongs to {table})"),
        (_, None) => meant.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default(),
    }
}

/// The table that a key belongs to.
pub(crate) fn table_of(key: &str) -> Option<&'static str> {
    TABLES.iter().find(|(_, keys)| keys.contains(&key)).map(|(table, _)| *table)
}

/// The candidate that differs from `text` by at most a few typing mistakes, or that begins with it.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Too many names begin with fewer letters than this.
    const SHORTEST: usize = 3;
    let text = text.to_lowercase();
    let length = text.chars().count();
    let distance = |candidate: &str| {
        let lower = candidate.to_lowercase();
        let allowed = (length.max(lower.chars().count()) / 3).clamp(1, 3);
        let distance = strsim::damerau_levenshtein(&text, &lower);
        // An abbreviation ranks after every typing mistake.
        let is_cut = length >= SHORTEST && lower.starts_with(&text);
        if distance <= allowed { Some(distance) } else { is_cut.then_some(allowed + 1) }
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_recognised_but_not_other_words() {
        let known = ["interval", "timeout", "weight", "rise", "fall"];
        for (typed, meant) in [
            ("intervall", Some("interval")),
            ("wieght", Some("weight")),
            ("tiemout", Some("timeout")),
            ("raise", Some("rise")),
            ("INTERVAL", Some("interval")),
            ("intv", None),
            ("int", Some("interval")),
            ("in", None),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    /// Common and rare keywords of keepalived.conf.
    const KEYWORDS: &str = "global_defs router_id enable_script_security script_user vrrp_version vrrp_strict \
        vrrp_skip_check_adv_addr vrrp_garp_interval vrrp_gna_interval vrrp_garp_master_delay vrrp_garp_master_repeat \
        vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_repeat vrrp_garp_lower_prio_delay \
        garp_master_delay garp_master_repeat garp_master_refresh garp_master_refresh_repeat garp_lower_prio_repeat \
        garp_lower_prio_delay garp_interval gna_interval garp_group vrrp_min_garp garp_extra_if notification_email \
        notification_email_from smtp_server smtp_connect_timeout smtp_alert vrrp_script script user init_fail \
        vrrp_instance state advert_int authentication auth_type auth_pass auth_hmac virtual_ipaddress \
        virtual_ipaddress_excluded no_virtual_ipaddress nopreempt preempt_delay unicast_src_ip unicast_peer \
        check_unicast_src vrrp_check_unicast_src unicast_fault_no_peer unicast_ttl mcast_src_ip mcast_dst_ip \
        vrrp_mcast_group4 vrrp_mcast_group6 native_ipv6 v3_checksum_as_v2 old_unicast_checksum strict_mode \
        skip_check_adv_addr owner_ignore_adverts vrrp_owner_ignore_adverts lower_prio_no_advert \
        vrrp_lower_prio_no_advert higher_prio_send_advert vrrp_higher_prio_send_advert down_timer_adverts \
        vrrp_down_timer_adverts timer_expired_backup thread_timer_expired log_unknown_vrids kernel_rx_buf_size \
        vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier vrf vrrp_sync_group group sync_group_tracking_weight \
        global_tracking vrrp_startup_delay vrrp_delay_after_boot dont_track_primary track_src_ip \
        interface_up_down_delays label scope dev brd preferred_lft noprefixroute no_track virtual_routes virtual_rules \
        static_ipaddress static_routes static_rules track_group use_vmac vmac_xmit_base use_vmac_addr vmac_prefix \
        vmac_addr_prefix use_ipvlan accept no_accept promote_secondaries nftables nftables_priority vrrp_iptables \
        vrrp_ipsets disable_local_igmp default_interface dynamic_interfaces track_interface track_script track_file \
        vrrp_track_file init_file vrrp_track_process track_process process param_match quorum quorum_max fork_delay \
        terminate_delay full_command track_bfd bfd_instance linkbeat_use_polling linkbeat_interfaces notify \
        notify_master notify_backup notify_fault notify_stop notify_deleted notify_master_rx_lower_pri \
        notify_priority_changes notify_fifo vrrp_notify_fifo vrrp_notify_fifo_script fifo_write_vrrp_states_on_reload \
        enable_dbus dbus_service_name enable_snmp_vrrp enable_snmp_rfcv2 enable_snmp_rfcv3 enable_traps snmp_socket \
        reload_check_config reload_time_file reload_repeat reload_file config_save_dir json_version state_dump_file \
        stats_dump_file json_dump_file vrrp_priority vrrp_rt_priority vrrp_rlimit_rttime vrrp_no_swap \
        vrrp_cpu_affinity max_auto_priority min_auto_priority_delay net_namespace use_pid_dir process_names include \
        debug umask vrrp_process_name startup_script_timeout shutdown_script_timeout process_monitor_rcv_bufs \
        vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs \
        vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs_force random_seed data_use_instance \
        tmp_config_directory virtual_server virtual_server_group real_server lvs_sync_daemon";

    #[test]
    fn every_keepalived_keyword_has_a_hint() {
        // Words that are keys of vouchd too get the table that they belong to.
        for keyword in KEYWORDS.split_whitespace().filter(|word| table_of(word).is_none()) {
            let hint = for_key(keyword, &["interface", "priority", "plugin", "preempt"]);
            assert!(hint.starts_with(" (a keyword of keepalived; "), "{keyword}: {hint:?}");
            assert!(hint.len() > 30, "{keyword}: {hint}");
        }
    }

    #[test]
    fn keepalived_keywords_are_translated() {
        assert!(for_key("advert_int", &["advert_interval"]).contains("advert_interval = \"1s\""));
        assert!(for_key("state", &[]).contains("every router starts as backup"));
        assert!(for_key("vrrp_garp_master_delay", &[]).contains("garp = { delay"));
        assert!(for_key("Nopreempt", &[]).contains("preempt = false"));
        assert!(for_key("file", &["files"]).contains("did you mean `files`?"));
    }
}
