"""Stores that are wrong on purpose: they prove that the conformance suite sees what is wrong.

Every class is a MemoryStore (where appends fail, a FaultyStore) with one flaw, named by its
docstring, and must fail at least the check that ``BROKEN_STORES`` names; each check of the suite is
named at least once. ``flaws.content_of`` gives their content. Those of leases need
``lease_seconds``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import appending, failing, keeping, ownership, reading, refusing, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .flaws import Kind

BROKEN_STORES: Mapping[Kind, str] = {
    ownership.StaleEpochAccepted: "stale_epoch_is_refused",
    ownership.StaleEpochWritten: "stale_epoch_is_refused",
    ownership.AnyStartAccepted: "append_continues_at_the_head_or_is_refused",
    ownership.EpochsStartAgain: "epochs_only_go_up",
    ownership.StaleReleaseHonoured: "release_of_a_stale_claim_is_ignored",
    ownership.SecondOpenerAdmitted: "second_opener_is_refused",
    ownership.CommandLost: "command_reaches_the_owner",
    ownership.RefusalSwallowed: "command_reaches_the_owner",
    ownership.LostClaimsRenewed: "renew_returns_what_was_lost",
    ownership.LeaseNeverEnds: "leased_session_is_held_until_the_lease_ends",
    ownership.LeaseIgnored: "leased_session_is_held_until_the_lease_ends",
    ownership.CommandsStayHere: "released_lease_is_free_at_once",
    ownership.NewSessionStartsAtZero: "claim_of_a_new_session_is_empty",
    ownership.ClaimWithoutSnapshot: "claim_tells_what_is_there",
    ownership.StaleOnlyUntilRestart: "claim_of_an_earlier_opening_is_refused",
    ownership.TrimAfterTheClaim: "claim_counts_what_was_on_its_way",
    ownership.DeleteAfterTheClaim: "claim_counts_what_was_on_its_way",
    appending.TornBatch: "batch_is_all_or_nothing_to_readers",
    appending.InfoBehindRecords: "batch_is_all_or_nothing_to_readers",
    appending.InfoBelieved: "info_is_replaced_and_kept_up_by_the_store",
    appending.WrongOrder: "records_are_numbered_from_one_without_gap",
    appending.RecordDropped: "records_are_numbered_from_one_without_gap",
    appending.LargeBatchCut: "large_batch_is_one_batch",
    appending.BigRecordCut: "big_record_fits",
    appending.MetadataDropped: "everything_in_an_event_round_trips",
    appending.AppendAbandoned: "cancelled_append_is_done_or_not",
    appending.OneAppendAtATime: "sessions_append_at_the_same_time",
    reading.Gap: "records_are_numbered_from_one_without_gap",
    reading.RepeatedEvent: "forward_pages_hold_what_was_asked_for",
    reading.LimitIgnored: "page_tells_where_it_stands",
    reading.TypesIgnored: "forward_pages_hold_what_was_asked_for",
    reading.RunIgnored: "forward_pages_hold_what_was_asked_for",
    reading.RunWithoutBounds: "events_of_a_run_are_from_its_request_to_its_end",
    reading.BeforeIncluded: "forward_pages_hold_what_was_asked_for",
    reading.BackwardsDescending: "backward_pages_hold_what_was_asked_for",
    reading.BackwardsFromTheStart: "backward_page_is_the_end_of_the_range",
    reading.ScannedTooFar: "backward_pages_hold_what_was_asked_for",
    reading.ClosedUnknown: "page_tells_where_it_stands",
    reading.UnknownSessionEmpty: "unknown_session_is_unknown_everywhere",
    reading.EndNotFound: "runs_are_found",
    reading.KeysOfAllSessions: "keys_are_found",
    reading.OldestFirst: "sessions_are_listed_newest_change_first",
    reading.ListingNotKept: "sessions_are_listed_newest_change_first",
    reading.AnyTagMatches: "sessions_are_listed_by_prefix_tags_and_need",
    reading.ListingRestarted: "listing_is_as_of_the_call",
    reading.CaseFolded: "sessions_do_not_mix",
    reading.StatisticsDict: "statistics_are_a_frozen_attrs_object",
    refusing.EmptyPages: "page_has_room_for_one_event_at_least",
    refusing.SeqsBelowZero: "seqs_below_zero_are_refused",
    refusing.WrittenUpToTheBadOne: "what_cannot_be_held_is_refused",
    refusing.EncodingErrors: "what_cannot_be_held_is_refused",
    failing.KeptAtClose: "acknowledged_is_there_for_other_processes",
    failing.LostInACrash: "acknowledged_outlives_a_crash",
    failing.FailedAppendKept: "undone_append_may_be_tried_again",
    failing.FailureUnknown: "undone_append_may_be_tried_again",
    failing.PoisonForgotten: "poisoned_store_is_read_only",
    failing.WaitingWhilePoisoned: "poisoned_store_is_read_only",
    failing.ReadingPoisoned: "poisoned_store_is_read_only",
    keeping.LastRecordLost: "everything_is_there_after_a_restart",
    keeping.ReaderNeedsOwner: "reader_needs_no_owner",
    keeping.KeysForgotten: "keys_are_found",
    keeping.RunsForgotten: "runs_are_found",
    keeping.CursorsForgotten: "named_cursors_are_kept",
    keeping.FirstSnapshotKept: "snapshot_is_replaced",
    keeping.FutureSnapshotKept: "snapshot_is_never_ahead_of_the_head",
    keeping.TrimmedStillReadable: "trimmed_events_are_gone",
    keeping.TrimForgotten: "trimmed_events_are_gone",
    keeping.AnyEventIsARequest: "run_is_unknown_without_its_request",
    keeping.TrimGoesBack: "trims_at_the_same_time_only_go_up",
    keeping.LastEventNotTrimmed: "everything_may_be_trimmed",
    keeping.TombstoneForgotten: "deleted_id_continues_above_its_last_seq",
    keeping.TombstoneForgottenLater: "tombstone_outlives_a_second_delete",
    keeping.CursorsOutliveDelete: "deleted_session_is_unknown",
    waiting.NewsNeverComes: "news_wakes_those_who_wait",
    waiting.NewsComesOnce: "reader_beside_sees_every_event_in_order",
    waiting.OldNewsIgnored: "news_that_is_there_returns_at_once",
    waiting.OneIsWoken: "news_wakes_those_who_wait",
    waiting.RunEndIsNoNews: "end_of_a_run_wakes_those_who_wait_for_it",
    waiting.DeleteIsNoNews: "delete_wakes_those_who_wait",
    waiting.CloseIsNoNews: "closing_wakes_those_who_wait",
    waiting.CancelEndsAllWaits: "cancelled_wait_leaves_nothing_behind",
    waiting.CancelledStaysInLine: "cancelled_wait_leaves_nothing_behind",
    waiting.NewsComesLate: "news_wakes_those_who_wait",
    waiting.OldNewsComesLate: "news_that_is_there_returns_at_once",
    waiting.RunEndComesLate: "end_of_a_run_wakes_those_who_wait_for_it",
}
"""Each broken store and the check that it fails first of all."""

__all__ = ["BROKEN_STORES"]
