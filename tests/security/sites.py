"""Attacks on a site by those whose tasks it runs, by what is put into its files, and on what connects it: the second
part of the table."""

from security.row import Row, checks_in

ROWS = (
    Row(
        "B13",
        "a task is changed after it was approved, a SWOP speaks for another one, others' tasks are ended",
        (
            *checks_in(
                "ledger/test_tasks",
                "what_does_not_fit_is_refused_with_the_reason",
                "a_digest_covers_what_will_be_done_and_neither_name_nor_author",
                "an_organisation_makes_as_many_tasks_as_its_quota_allows_and_deleted_ones_do_not_count",
                "the_lines_of_an_organisations_tasks_are_bounded_together",
            ),
            *checks_in("ledger/test_access", "each_body_may_be_sent_only_by_the_roles_in_its_row"),
            *checks_in("ledger/test_taskrunners", "what_does_not_fit_is_refused_with_the_reason"),
            *checks_in(
                "ledger/test_taskrunner_ends",
                "a_reset_makes_it_idle_and_reports_from_before_are_refused",
                "others_end_a_running_task_by_a_quorum_only",
                "others_neither_occupy_nor_empty_a_taskrunner_that_an_organisation_has_created",
            ),
        ),
    ),
    Row(
        "B14",
        "a task reaches what its site has not allowed: by links, by the name of what it makes, by its length",
        (
            *checks_in(
                "swop/test_policy",
                "no_task_is_put_in_the_place_of_what_the_nodes_of_the_site_need",
                "the_volumes_that_a_policy_names_are_those_that_tasks_fill_too",
                "what_others_have_made_is_replaced_when_the_operator_says_so",
            ),
            *checks_in(
                "executor/test_judging",
                "one_organisation_does_not_replace_what_another_one_has_made",
                "a_link_that_has_changed_since_a_task_was_allowed_is_judged_anew",
                "a_chain_that_is_too_long_to_read_is_refused",
            ),
            *checks_in("swop/process/test_view", "no_link_on_the_way_to_what_is_mounted_is_followed"),
        ),
    ),
    Row(
        "B15",
        "a package or a build context at a site brings in what nobody approved, writes as root, or never ends",
        checks_in(
            "swop/process/test_hostile_builds",
            "a_wheel_with_the_record_of_another_one_has_another_digest",
            "nothing_is_written_through_links_that_a_package_plants",
            "pipes_and_devices_in_an_environment_are_refused",
            "a_build_context_with_a_pipe_or_a_link_in_it_holds_up_nothing",
            "a_build_as_another_user_cannot_end_what_ends_it",
        ),
    ),
    Row(
        "B16",
        "logs of a site are read by whom it does not share them with, or altered on their way",
        (
            *checks_in(
                "node/test_sealing",
                "who_carries_an_answer_reads_nothing_of_it",
                "no_altered_byte_of_ask_or_answer_is_accepted",
                "an_answer_by_another_node_to_another_request_or_with_another_key_is_refused",
                "no_other_signed_message_is_taken_for_one_and_none_for_another",
                "asks_and_answers_are_bounded",
            ),
            *checks_in(
                "node/test_reading",
                "a_node_s_log_is_for_operators_of_its_own_organisation",
                "nobody_but_an_operator_whom_the_ledger_trusts_is_answered",
                "a_request_is_carried_out_once_and_for_a_minute",
                "requests_that_nobody_may_send_do_not_end_the_answering",
                "an_answer_by_another_node_is_none",
            ),
            *checks_in("node/test_logfile", "no_link_and_no_pipe_is_read"),
            *checks_in("sn/test_carrying", "what_is_under_way_is_bounded"),
            *checks_in(
                "operator/test_logs", "a_false_sn_can_withhold_an_answer_and_no_more", "logs_without_end_are_given_up"
            ),
            *checks_in("system/test_logs", "a_site_s_logs_are_read_by_whom_it_shares_them_with"),
        ),
    ),
    Row(
        "B17",
        "a script at a site stays behind, or leaves what its SWOP can neither end nor remove",
        checks_in(
            "swop/process/test_hostile_scripts",
            "a_chain_of_processes_is_ended_with_the_script_that_has_left_it",
            "a_script_that_makes_processes_without_end_is_ended_in_its_time",
            "folders_deeper_than_any_path_and_closed_ones_are_removed",
            "a_build_context_of_folders_within_folders_without_end_is_refused",
        ),
    ),
    Row(
        "B18",
        "a certificate that is put beside a running node makes it another one, ends it, or costs a round",
        (
            *checks_in(
                "identity/test_files",
                "the_old_identity_goes_on_with_one_warning_that_names_file_and_reason_until_the_files_fit",
                "what_is_being_written_is_neither_used_nor_warned_of",
                "a_passphrase_that_does_not_fit_is_named_and_not_shown",
            ),
            *checks_in(
                "node/test_renewing",
                "an_equal_subject_of_another_organisation_is_refused_and_the_old_certificate_goes_on",
                "a_certificate_that_was_revoked_is_refused_and_the_present_one_goes_on",
            ),
            *checks_in(
                "system/rotation",
                "certificates_are_replaced_again_and_again_while_rounds_go_on_with_files_at_fault_in_between",
                "a_swarm_whose_first_certificates_expire_in_a_training_loses_no_round",
            ),
        ),
    ),
    Row(
        "B19",
        "a script, or a leader, gets more of a site than its privacy lock gives",
        (
            *checks_in(
                "system/test_privacy_lock",
                "what_a_script_hands_over_is_clipped_however_long_it_is",
                "a_site_at_its_budget_gives_nothing_more_and_the_others_go_on",
            ),
            *checks_in(
                "sl/test_locking",
                "a_node_killed_at_any_moment_has_recorded_all_that_could_be_fetched",
                "a_record_that_says_less_than_the_ledger_lets_nothing_be_given",
                "what_a_script_hands_over_is_served_to_nobody_whatever_the_ledger_calls_by_its_digest",
                "a_model_is_served_once_the_frozen_round_names_enough_contributors",
                "a_policy_that_others_can_write_is_refused",
            ),
            *checks_in(
                "security/test_hostile_script",
                "a_hostile_script_of_another_user_gets_around_the_lock_in_no_way",
                "a_hostile_script_in_a_container_gets_around_the_lock_in_no_way",
            ),
            *checks_in("swop/docker/test_specs", "an_sl_has_its_privacy_policy_and_a_script_has_nothing_of_it"),
            *checks_in("rounds/test_releasing", "a_model_is_submitted_as_the_lock_has_made_it"),
            *checks_in("privacy/test_release", "without_noise_no_change_exceeds_the_norm"),
        ),
    ),
    Row(
        "B20",
        "a license server, or who poses as one, harms nodes; nodes take more tokens than there are, or those of others",
        (
            *checks_in(
                "license/test_serving",
                "no_node_poses_as_a_license_server",
                "a_hostile_license_server_costs_a_node_bounded_memory_and_time",
                "a_certificate_takes_tokens_of_its_role_only",
                "a_token_is_its_holders_even_where_another_node_names_its_uid",
                "the_leases_are_shown_to_servers_of_the_same_authority_only",
                "one_authority_s_requests_are_bounded",
                "a_full_table_refuses_newcomers_and_renews",
                "strangers_and_odd_requests_are_answered_with_a_refusal",
            ),
            *checks_in(
                "license/test_documents",
                "what_is_not_a_license_of_a_known_issuer_is_refused",
                "no_altered_byte_goes_unnoticed",
                "an_issuer_revokes_its_own_licenses_only",
            ),
            *checks_in("license/test_leases", "never_are_more_tokens_lent_than_there_are_and_no_holder_loses_its_own"),
            *checks_in("license/test_store", "what_was_answered_is_there_after_kill_9_at_any_moment"),
            *checks_in(
                "node/test_license",
                "a_node_at_work_goes_on_without_its_server_and_renews_when_it_is_back",
                "a_node_at_work_goes_on_when_its_license_has_ended",
            ),
        ),
    ),
    Row(
        "B21",
        "an SN that relays reads or alters what it carries; a relay is used to reach what it should not, or used up",
        (
            *checks_in(
                "relay/test_relay",
                "a_model_is_fetched_through_a_relay_which_sees_none_of_its_bytes",
                "a_request_that_is_refused_is_told_the_reason",
                "a_node_that_is_called_and_does_not_come_is_waited_for_a_bounded_time",
                "a_refused_peer_loses_its_streams_at_once_whichever_end_it_is",
                "an_organisation_has_no_more_connections_than_its_quota",
                "a_node_has_no_more_streams_than_one_may_have",
                "one_organisation_leaves_streams_to_a_node_for_the_others",
                "a_stream_without_a_byte_ends",
                "what_nobody_has_asked_a_node_for_ends_its_connection",
                "what_a_stream_carries_counts_for_whoever_has_opened_it",
            ),
            *checks_in(
                "sn/test_relaying",
                "a_node_is_called_by_its_own_certificate_alone",
                "nothing_is_relayed_for_who_is_revoked",
                "nothing_is_relayed_for_who_is_not_on_the_ledger",
                "bytes_count_for_an_organisation_and_delay_no_other_one",
                "a_revocation_on_the_ledger_ends_the_streams_of_a_relay",
            ),
            *checks_in("system/test_relay", "a_site_goes_to_another_relay_when_its_own_is_gone"),
        ),
    ),
    Row(
        "B22",
        "a stranger uses the port for newcomers, an SN their requests, or a server poses as their network",
        (
            *checks_in(
                "sn/test_joinport",
                "the_port_is_open_while_somebody_is_invited_and_a_node_joins_through_it",
                "it_closes_when_the_last_invitation_is_withdrawn_or_expires",
                "a_stranger_is_told_nothing_and_cannot_keep_out_who_is_invited",
                "a_holder_is_shown_its_own_invitation_and_requests_at_a_bounded_rate",
                "nobody_can_alter_a_request_use_another_s_or_use_one_twice",
                "idle_connections_and_endless_heads_keep_nobody_out",
            ),
            *checks_in("invitations/test_serving", "nobody_without_the_key_gets_past_the_guard"),
            *checks_in(
                "invitations/test_client",
                "who_has_another_authority_is_refused_before_anything_is_sent",
                "who_only_shows_the_right_authority_is_refused",
                "a_node_that_is_no_sn_cannot_stand_in_between",
                "an_sn_of_another_network_is_refused",
                "what_an_sn_sends_is_bounded_in_bytes_and_in_time",
            ),
            *checks_in(
                "invitations/test_host",
                "an_sn_of_another_organisation_cannot_make_a_newcomer_a_node_of_its_own",
                "an_sn_that_answers_at_once_that_nothing_has_changed_keeps_no_newcomer_busy",
            ),
            *checks_in(
                "operator/test_invitations",
                "only_the_authorities_of_its_own_organisation_may_issue_a_node_s_certificate",
            ),
            *checks_in(
                "invitations/test_code",
                "a_name_that_is_no_node_s_never_becomes_a_file",
                "an_address_that_is_none_is_refused",
                "a_code_does_not_show_its_key",
            ),
            *checks_in(
                "invitations/test_commands",
                "who_finds_its_code_used_by_another_is_told_so",
                "a_code_that_was_withdrawn_or_cut_off_is_named_as_such",
            ),
        ),
    ),
    Row(
        "B23",
        "whoever is diagnosed, archived or verified lies: reports, probes, checkpoints, proofs, trackers",
        (
            *checks_in("operator/test_logs", "what_is_no_report_is_refused"),
            *checks_in(
                "cli/test_collect",
                "names_of_others_lead_nowhere",
                "what_others_have_written_does_nothing_in_the_page",
            ),
            *checks_in("node/test_probing", "no_proxy_leads_to_an_address_that_is_refused"),
            *checks_in("cli/test_doctor_sight", "a_site_that_states_a_release_from_the_future_makes_nobody_old"),
            *checks_in(
                "ledger/test_attested",
                "only_signatures_that_hold_count_as_such",
                "an_sn_that_has_the_name_of_another_takes_no_signature_away",
                "a_checkpoint_that_was_altered_is_refused_by_name",
                "a_world_that_was_made_up_does_not_fit_the_sealed_block",
            ),
            *checks_in("sn/test_archiving", "the_names_of_those_who_have_signed_do_nothing_to_a_terminal"),
            *checks_in("privacy/test_accounting", "whatever_a_site_states_composes_to_a_number"),
            *checks_in("tracking/test_mlflow", "a_server_that_is_not_mlflow_is_named"),
        ),
    ),
)
