//! Behaviour of `pf` over real sockets, one file each.

mod a_b2bua_keeps_to_the_rules_of_sip;
mod a_device_that_answers_late_misses_nothing;
mod a_flood_stays_at_the_guard;
mod a_group_session_goes_on_for_a_lost_client;
mod a_lost_client_comes_back;
mod a_lost_client_may_leave_others_behind;
mod a_proxied_session_needs_no_memory;
mod a_proxy_keeps_to_the_rules_of_sip;
mod a_refusal_may_lead_to_the_isf;
mod a_rejoin_waits_for_something_to_say;
mod a_rude_device_delays_nobody;
mod a_session_that_is_not_refreshed_ends;
mod an_expired_session_is_stored_first;
mod an_invitation_can_be_cancelled_at_any_time;
mod anonymity_needs_permission;
mod asserted_services_pass_or_are_refused;
mod barred_user_gets_403_127;
mod calls_survive_loss;
mod changes_of_interworked_sessions;
mod direct_delivery_is_the_operators_choice;
mod every_device_gets_each_message_once;
mod far_end_answers_decide;
mod far_end_sees_an_invite_of_pf;
mod fast;
mod group_sessions_end_for_good_or_not;
mod histories_begin_after_the_200;
mod ipv6_legs;
mod mail_addresses_go_to_the_isf;
mod old_client_gets_403_132;
mod originator_gets_pfs_own_answer;
mod participants_are_asked_of_the_focus;
mod pf_ends_politely;
mod refusals_of_the_far_end_reach_the_caller;
mod registrations_decide_who_is_invited;
mod reliable_progress_is_acknowledged;
mod session_end_reaches_every_leg;
mod sessions_change_on_the_way;
mod sessions_nobody_needs_pf_for_are_proxied;
mod sessions_share_a_connection;
mod sessions_with_interworking_functions;
mod slow_device_loses_its_own_leg_only;
mod storing_comes_before_the_end;
mod subscriptions_end_and_begin_again;
mod the_contact_outlives_its_session;
mod the_demo_loses_nothing;
mod the_fast_path_changes_nothing;
mod the_fast_path_survives_trouble;
mod the_kernel_forwards_a_chat;
mod the_lab_itself_works;
mod the_other_direction;
mod torture;
mod unkind_octets;
mod where_pf_connects_to;
mod who_may_start_a_group_session_again;

// Real neighbours: SIPp and Kamailio.
#[path = "../neighbours/mod.rs"]
mod neighbours;

mod every_procedure_with_sipp;
mod kamailio_as_sip_core;
mod kamailio_registers_the_devices;
mod sipp_calls_through_pf;
