//! The rows of docs/conformance.md that show from outside: each a stimulus and what must follow.
//!
//! A row's function gets a [`Lab`] whose router is not started yet. It fails with what it has seen.

mod active;
mod announcements;
mod backup;
mod initialize;
mod preemption;
mod reception;
mod timers;
mod transmission;
mod version2;
mod versions;

use crate::lab::Lab;
use crate::plan::Setup;
use crate::plan::Setup::{Dual, V2, V3, V3Mac, V6, V6Mac};

/// A row, and where it applies.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// As in docs/conformance.md.
    pub number: u32,
    /// The versions and families in which it is tried.
    pub setups: &'static [Setup],
    /// Tries it once.
    pub test: fn(&Lab) -> anyhow::Result<()>,
}

const fn row(number: u32, setups: &'static [Setup], test: fn(&Lab) -> anyhow::Result<()>) -> Row {
    Row { number, setups, test }
}

const ALL: &[Setup] = &[V2, V3, V6];
const IPV4: &[Setup] = &[V2, V3];
const MACS: &[Setup] = &[V3Mac, V6Mac];

/// All rows.
pub const ROWS: &[Row] = &[
    row(1, ALL, transmission::ttl_is_255),
    row(2, ALL, transmission::goes_to_the_group),
    row(3, MACS, transmission::ethernet_source_is_the_virtual_mac),
    row(4, IPV4, transmission::source_is_the_primary_address),
    row(4, &[V6], transmission::source_is_link_local),
    row(5, ALL, transmission::fields_follow_the_configuration),
    row(6, &[V3, V6], transmission::reserved_bits_are_zero),
    row(7, &[V3], transmission::checksum_can_cover_the_message_alone),
    row(7, &[V6], transmission::checksum_covers_the_pseudo_header),
    row(8, &[V2], transmission::checksum_covers_the_message_alone),
    row(9, &[V6], transmission::first_address_is_link_local),
    row(10, ALL, transmission::addresses_are_of_one_family),
    row(11, ALL, transmission::owner_has_priority_255),
    row(13, ALL, transmission::class_is_cs6),
    row(14, ALL, transmission::own_advertisement_has_no_effect),
    row(15, IPV4, reception::ttl_below_255),
    row(16, &[V6], reception::ttl_below_255),
    row(17, ALL, reception::other_versions),
    row(18, ALL, reception::other_types),
    row(19, ALL, reception::truncated),
    row(20, ALL, reception::trailing_bytes),
    row(20, ALL, reception::padding_does_not_count),
    row(21, ALL, reception::wrong_checksum),
    row(21, ALL, reception::any_bit_flipped),
    row(22, &[V3], reception::both_checksum_forms_are_accepted),
    row(23, &[V6], reception::checksum_without_pseudo_header),
    row(24, ALL, reception::another_virtual_router),
    row(25, ALL, reception::no_addresses),
    row(26, &[V3, V6], reception::interval_of_zero),
    row(27, &[V6], reception::first_address_is_global),
    row(28, &[V3, V6], reception::another_interval_is_accepted),
    row(29, &[V3, V6], reception::one_address_in_common_is_enough),
    row(30, &[V3, V6], reception::reserved_bits_are_ignored),
    row(31, IPV4, reception::options_are_accepted),
    row(33, ALL, reception::two_owners_elect_by_address),
    row(34, IPV4, reception::impossible_sources),
    row(35, &[V2, V3], reception::carp),
    row(36, ALL, reception::everything_at_once),
    row(38, ALL, initialize::owner_is_active_at_once),
    row(39, ALL, initialize::others_listen_first),
    row(41, ALL, initialize::returning_link_starts_anew),
    row(42, IPV4, backup::does_not_answer_for_the_address),
    row(43, &[V6], backup::does_not_answer_for_the_address),
    row(44, &[V6], backup::sends_no_router_advertisements),
    row(45, MACS, backup::discards_frames_to_the_virtual_mac),
    row(46, ALL, backup::accepts_no_packet_to_the_address),
    row(47, ALL, backup::shutdown_sends_nothing),
    row(48, ALL, backup::silence_makes_it_active),
    row(49, ALL, backup::priority_0_leaves_one_skew_time),
    row(50, ALL, backup::better_router_restarts_the_timer),
    row(51, ALL, backup::worse_router_leaves_the_timer_alone),
    row(52, &[V3, V6], backup::down_interval_is_of_the_learned_interval),
    row(53, ALL, backup::advertisement_after_priority_0_restores_the_down_interval),
    row(54, ALL, active::interval_has_no_drift),
    row(55, ALL, active::priority_0_is_answered_at_once),
    row(56, ALL, active::gives_way_to_a_better_router),
    row(56, ALL, active::gives_way_to_an_equal_router_with_a_higher_address),
    row(56, ALL, active::stays_against_an_equal_router_with_a_lower_address),
    row(57, ALL, active::worse_router_is_answered_at_once),
    row(58, ALL, active::own_address_changes_nothing),
    row(59, ALL, active::shutdown_resigns_before_the_addresses_go),
    row(60, &[V3Mac], active::arp_is_answered_with_the_virtual_mac),
    row(61, &[V6Mac], active::solicitation_is_answered_with_the_virtual_mac),
    row(62, &[V6], active::joins_the_solicited_node_groups),
    row(65, MACS, active::without_accept_mode_packets_are_dropped),
    row(66, ALL, active::reload_changes_the_next_advertisement),
    row(69, &[V3, V6], timers::skew_follows_priority_and_interval),
    row(70, &[V2], timers::skew_follows_priority_and_interval),
    row(71, &[V3, V6], timers::own_advertisements_keep_the_own_interval),
    row(75, ALL, timers::stalled_backup_handles_waiting_packets_first),
    row(77, ALL, preemption::better_router_takes_over),
    row(78, ALL, preemption::without_preemption_it_does_not),
    row(79, ALL, preemption::owner_always_does),
    row(80, ALL, preemption::equals_that_start_together),
    row(81, ALL, preemption::remaining_router_announces_again),
    row(82, IPV4, announcements::gratuitous_arp),
    row(82, &[V3Mac], announcements::gratuitous_arp),
    row(83, &[V6, V6Mac], announcements::unsolicited_neighbour_advertisement),
    row(84, &[V2, V3, V6, V3Mac, V6Mac], announcements::announces_addresses_that_answer),
    row(85, &[V3Mac, V6Mac], announcements::physical_mac_never_shows),
    row(87, &[V6, V6Mac], announcements::duplicate_detection_delays_nothing),
    row(88, &[V6Mac], announcements::virtual_mac_makes_no_identifier),
    row(89, &[V2], version2::other_authentication),
    row(89, &[V2], version2::wrong_password),
    row(90, &[V2], version2::another_interval),
    row(91, &[V2], version2::one_address_in_common_is_enough),
    row(92, &[V2], version2::authentication_data_is_ignored),
    row(93, &[V6], version2::ipv6_is_refused),
    row(94, &[V2], version2::interval_below_a_second_is_refused),
    row(96, &[V2], version2::owner_discards),
    row(97, &[Dual], versions::active_router_sends_both),
    row(98, &[Dual], versions::version_2_of_the_same_source_is_ignored),
    row(99, &[Dual], versions::seconds_become_centiseconds),
];

/// Rows that are not tried, and why.
pub const NOT_TRIED: &[(u32, &str)] = &[
    (12, "a matter of the configuration"),
    (32, "255 addresses: in the daemon's own tests"),
    (37, "a flood is measured by itself: `cargo xtask bench flood`"),
    (40, "inside the router"),
    (63, "for routers that send router advertisements"),
    (64, "forwarding is the kernel's"),
    (67, "checks differ between makes"),
    (68, "checks differ between makes"),
    (72, "too short to measure on a wire"),
    (73, "in the interop matrix"),
    (74, "the wall clock is the machine's"),
    (76, "inside the router"),
    (86, "the kernel's"),
    (95, "RFC 9568 replaces it by row 57"),
    (100, "status and log differ between makes"),
    (101, "status and log differ between makes"),
    (102, "status and log differ between makes"),
    (103, "status and log differ between makes"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_tried_or_has_a_reason() {
        for number in 1..=103 {
            let tried = ROWS.iter().any(|row| row.number == number);
            let reason = NOT_TRIED.iter().any(|(row, _)| *row == number);
            assert!(tried != reason, "row {number}");
        }
    }
}
