"""The attacks that once worked, and the checks that show that each works no more: one row for each kind of attack.

A check is a test, whose name is a sentence. `make security` runs them all; `docs/security.md` refers to the rows.
"""

from security import sites
from security.row import Row, checks_in


def sentence(check: str) -> str:
    """Returns what a check shows: the name of its test as words."""
    return check.rpartition("::test_")[2].replace("_", " ")


ROWS = (
    Row(
        "B1",
        "a certificate, transaction or block that the libraries do not like ends nodes",
        (
            *checks_in("security/test_strangers", "an_odd_certificate_in_a_transaction_ends_no_sn"),
            *checks_in(
                "ledger/test_hostile",
                "a_registration_with_an_odd_certificate_is_refused_and_a_block_with_it_is_void",
                "an_odd_authority_is_refused_and_a_block_with_it_is_void",
                "a_signature_is_checked_before_anything_that_its_check_does_not_need",
                "no_altered_certificate_in_a_registration_ends_a_node",
                "an_extremely_nested_block_is_no_block",
                "junk_is_no_block_and_uses_up_no_height",
            ),
            *checks_in(
                "identity/test_hostile_certificates",
                "a_certificate_that_the_library_refuses_in_its_own_way_is_malformed",
                "no_random_bytes_raise_anything_but_a_certificate_error",
            ),
        ),
    ),
    Row(
        "B2",
        "names and UIDs that contain each other multiply texts until memory ends",
        (
            *checks_in("security/test_strangers", "names_that_contain_the_uids_of_others_multiply_no_text"),
            *checks_in("ledger/test_senders", "a_node_registers_under_a_uuid_only"),
            *checks_in("views/test_training_view", "names_that_contain_other_uids_are_not_substituted_again"),
        ),
    ),
    Row(
        "B3",
        "one organisation's authority takes over nodes of others, or changes the network",
        (
            *checks_in(
                "security/test_members",
                "an_equal_subject_of_another_organisation_takes_over_no_node",
                "a_node_cannot_use_up_its_incarnations_in_one_step",
                "one_organisation_alone_changes_nothing_for_the_others",
                "the_quorum_that_one_organisation_lacks_is_enough_when_another_one_signs",
                "authorities_vouch_for_no_identity_of_another_organisation",
            ),
            *checks_in(
                "ledger/test_policies",
                "an_act_needs_as_many_organisations_as_its_row_states",
                "no_sequence_of_one_organisation_s_acts_changes_who_may_do_what",
                "a_training_that_nobody_owns_is_not_ended_by_one_organisation_while_others_train",
            ),
            *checks_in("ledger/test_organisations", "an_authority_issues_only_for_the_roles_that_it_was_admitted_for"),
            *checks_in("ledger/test_chain", "a_rules_version_cannot_be_skipped"),
            *checks_in(
                "views/test_proposal_view",
                "an_authority_that_only_has_the_name_of_another_is_shown_by_its_thumbprint",
                "nothing_of_a_long_proposal_is_left_out_where_it_is_shown_whole",
            ),
            *checks_in(
                "node/test_recoveryfile",
                "a_signature_under_names_that_are_not_those_of_the_ledger_is_worth_nothing",
            ),
            *checks_in(
                "operator/test_acts",
                "a_node_that_is_called_by_the_uid_of_another_one_is_not_taken_for_it",
            ),
        ),
    ),
    Row(
        "B4",
        "a leader publishes what is no merge, or excludes others falsely",
        (
            *checks_in(
                "system/test_hostile_leader",
                "a_leader_s_bad_result_is_reported_and_neither_loaded_nor_the_end_of_a_script",
            ),
            *checks_in(
                "sl/test_remarks",
                "a_site_whose_own_check_finds_its_model_sound_is_not_ended_by_a_leader_s_exclusion",
            ),
            *checks_in(
                "ledger/test_training_rounds",
                "a_model_that_one_leader_found_unusable_is_judged_anew_by_the_next_and_no_more_after_that",
            ),
            *checks_in(
                "ledger/test_training_leaders", "the_order_of_leaders_follows_from_network_contract_and_identities"
            ),
            *checks_in("ledger/test_training_weights", "a_mean_whose_coefficients_ignore_the_cap_is_no_result"),
        ),
    ),
    Row(
        "B5",
        "one SN, its clock or its vote decides what concerns others",
        (
            *checks_in(
                "ledger/test_void_blocks",
                "what_no_sn_of_the_network_has_sealed_is_no_block_and_uses_up_no_height",
                "the_sealer_of_a_void_block_is_in_quarantine_until_operators_lift_it",
                "an_sn_in_quarantine_cannot_come_back_under_another_uid",
            ),
            *checks_in(
                "ledger/test_watching",
                "a_node_is_lost_and_back_once_more_than_half_of_the_sns_report_so",
                "two_sns_that_die_at_once_lock_nobody",
                "an_organisation_that_runs_most_sns_of_three_does_not_decide_alone_once_another_is_gone",
            ),
            *checks_in(
                "ledger/test_recovery",
                "an_sn_alone_cannot_declare_the_others_gone",
                "nodes_do_not_sign_a_recovery_for_their_organisation",
                "a_signature_under_another_recovery_is_refused",
            ),
            *checks_in("system/test_clocks", "rounds_go_on_and_an_sn_whose_clock_is_an_hour_off_is_named"),
            *checks_in(
                "system/test_revoked_sns",
                "a_revoked_voter_ends_with_the_reason_and_ordering_goes_on_without_it",
                "a_voter_that_halts_ordering_is_revoked_and_ordering_goes_on",
            ),
            *checks_in(
                "system/test_recovery",
                "a_recovery_waits_for_the_signature_of_the_other_organisation_s_operator",
            ),
            *checks_in("system/test_operators", "recovery_is_refused_while_there_is_a_majority"),
        ),
    ),
    Row(
        "B6",
        "a contributor or holder stalls a round, or serves what has no end",
        (
            *checks_in(
                "models/test_hostile_sources",
                "a_source_that_sends_too_little_of_the_model_is_given_up_whatever_else_it_sends",
                "a_source_whose_answer_never_begins_is_given_up_whatever_it_sends",
                "a_source_that_sends_without_end_is_given_up_by_what_it_has_sent",
                "no_answer_of_a_source_is_more_than_a_failure_of_that_source",
                "a_source_that_drips_its_tls_handshake_is_given_up",
            ),
            *checks_in("rounds/test_swarm_troubles", "a_leader_whose_progress_never_ends_is_replaced"),
            *checks_in(
                "rounds/test_unreachable_members",
                "a_contributor_that_takes_three_times_as_long_as_the_others_is_left_out_by_name",
                "a_model_of_another_size_is_no_model_of_this_training_and_its_site_not_out_of_reach",
            ),
            *checks_in(
                "system/test_transfer",
                "whatever_a_hostile_site_gives_it_is_left_out_by_name_and_the_others_go_on",
            ),
            *checks_in(
                "ledger/test_training_recovery",
                "a_leader_whose_result_nobody_could_fetch_does_not_lead_while_others_can",
            ),
        ),
    ),
    Row(
        "B7",
        "one organisation outvotes the others by many nodes or a large weight",
        (
            *checks_in("security/test_members", "many_nodes_of_one_certificate_are_one_organisation_in_a_round"),
            *checks_in("ledger/test_quotas", "many_nodes_with_one_certificate_count_as_many_nodes"),
            *checks_in("ledger/test_training_weights", "no_organisation_exceeds_its_cap_where_enough_take_part"),
            *checks_in(
                "ledger/test_training_leaders",
                "an_organisation_with_many_sites_leads_no_more_often_where_rounds_need_several_organisations",
            ),
            *checks_in(
                "ledger/test_training_organisations",
                "the_reports_of_two_nodes_of_one_organisation_count_as_one_where_three_take_part",
                "a_merge_of_too_few_organisations_is_no_result",
            ),
        ),
    ),
    Row(
        "B8",
        "a stranger to a contract joins it or reads its models; revocation has no effect",
        (
            *checks_in("security/test_members", "a_node_of_no_member_joins_no_contract_and_squats_no_name"),
            *checks_in("security/test_models", "the_model_of_a_single_site_is_served_to_the_leader_of_its_round_alone"),
            *checks_in(
                "sl/test_readers",
                "only_the_leader_may_read_what_one_site_has_contributed",
                "a_model_that_no_training_names_is_served_to_nobody",
                "a_member_whose_certificate_is_revoked_gets_no_model_any_more",
            ),
            *checks_in("security/test_strangers", "a_certificate_without_a_role_reads_nothing"),
            *checks_in(
                "ledger/test_access",
                "the_key_of_a_former_certificate_is_of_no_use_once_the_node_is_revoked",
            ),
            *checks_in(
                "sn/test_api_limits",
                "a_revoked_certificate_renews_no_lease_and_reads_nothing_and_its_stream_ends",
            ),
            *checks_in("system/test_operator_verbs", "a_revoked_site_is_shut_out"),
        ),
    ),
    Row(
        "B9",
        "any trusted certificate poses as an SN, or an SN sends without end",
        (
            *checks_in(
                "api/test_client",
                "a_server_whose_certificate_is_not_that_of_an_sn_receives_no_request",
                "a_server_whose_certificate_names_no_role_is_not_used_as_an_sn",
                "an_sn_whose_credential_the_caller_rejects_is_not_used",
                "a_hostile_answer_costs_the_client_bounded_memory_and_time",
                "a_block_stream_of_much_that_is_no_block_ends",
            ),
        ),
    ),
    Row(
        "B10",
        "connections, streams, requests or transactions of one party keep the others out",
        (
            *checks_in("security/test_strangers", "pipelined_requests_cost_a_real_sn_no_memory"),
            *checks_in("sn/test_api_limits", "streams_that_nobody_reads_are_closed_and_use_little_memory"),
            *checks_in(
                "transport/test_listener",
                "silent_connections_do_not_displace_a_handshake_in_progress",
                "unfinished_handshakes_of_a_stranger_do_not_displace_a_member_at_another_address",
                "handshakes_from_one_network_are_begun_at_a_bounded_rate_and_others_do_not_wait",
            ),
            *checks_in(
                "api/test_server_shares",
                "connections_over_an_organisation_s_quota_are_refused_and_another_organisation_is_served",
                "requests_over_the_quota_wait_or_are_refused_and_another_organisation_is_answered_meanwhile",
            ),
            *checks_in(
                "sn/test_api_quotas",
                "block_streams_of_one_organisation_are_bounded_by_its_quota_and_others_read_on",
                "an_organisation_waits_for_past_blocks_over_its_quota_but_not_for_new_ones",
            ),
            *checks_in("sn/test_miner", "a_transaction_does_not_wait_for_the_flood_of_another_organisation"),
            *checks_in("system/test_spam", "rounds_go_on_while_another_organisation_sends_the_sn_all_it_can"),
            *checks_in("transport/test_parties", "an_organisation_gains_nothing_by_issuing_itself_certificates"),
            *checks_in(
                "transport/test_shares", "no_organisation_has_more_than_half_of_the_connections_whatever_its_quota"
            ),
            *checks_in("sn/test_miner", "a_transaction_does_not_wait_for_the_flood_of_another_organisation"),
            *checks_in("system/test_spam", "rounds_go_on_while_another_organisation_sends_the_sn_all_it_can"),
            *checks_in("ordering/test_tunnel", "an_admitted_sn_with_many_connections_keeps_no_other_sn_out"),
            *checks_in(
                "ledger/test_quotas",
                "nodes_that_come_and_leave_again_use_up_the_entries_of_a_day",
                "an_organisation_owns_no_more_contracts_than_its_quota",
                "no_other_organisation_notices_that_one_has_used_up_its_quota",
                "operators_act_and_sns_report_while_other_nodes_of_their_organisation_flood",
            ),
        ),
    ),
    Row(
        "B11",
        "another user of the host reads or replaces what the bridge exchanges",
        (
            *checks_in(
                "bridge/test_access",
                "only_the_user_who_runs_the_sl_can_use_the_bridge_s_files",
                "another_user_can_open_no_file_of_the_bridge",
                "a_hard_link_is_refused_and_its_other_file_is_left_as_it_is",
                "a_pipe_in_a_folder_where_anybody_can_replace_it_is_refused",
            ),
            *checks_in("bridge/test_unpickling", "no_function_of_a_pickle_is_called_before_it_is_refused"),
        ),
    ),
    Row(
        "B12",
        "names are squatted, addresses probed, batches poisoned, logs forged, the pace spoiled",
        (
            *checks_in("ledger/test_training_organisations", "a_name_belongs_to_whoever_has_created_it_first"),
            *checks_in(
                "models/test_hostile_sources",
                "a_node_of_a_real_network_connects_to_nothing_on_its_own_host",
                "special_addresses_are_connected_to_only_in_a_network_of_their_kind",
            ),
            *checks_in(
                "node/test_checkup",
                "others_are_tried_a_few_times_a_minute_whoever_asks",
                "another_organisation_has_only_so_many_addresses_tried_in_an_hour",
                "an_answer_of_another_organisation_is_bounded_and_taken_for_none_where_it_is_not",
            ),
            *checks_in("sn/test_miner", "a_transaction_that_the_sn_cannot_seal_does_not_fail_those_beside_it"),
            *checks_in("ledger/test_malformed", "the_detail_of_an_exclusion_is_one_visible_line"),
            *checks_in("api/test_client", "the_text_of_a_refusal_cannot_forge_log_lines"),
            *checks_in("security/test_strangers", "a_subject_with_control_characters_reaches_no_terminal"),
            *checks_in("cli/test_console", "hostile_names_neither_break_nor_style_the_status"),
            *checks_in(
                "ledger/test_adaptive",
                "a_loss_counts_relative_to_the_best_before_it_within_bounds",
            ),
        ),
    ),
    *sites.ROWS,
)
