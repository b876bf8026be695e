"""The table of hostile and broken input, row by row: which tests show each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

ROWS: dict[str, list[str]] = {
    "1 text bombs": [
        "cards/test_png.py::test_a_bomb_beside_a_card_does_not_matter",
        "cards/test_png.py::test_what_cannot_be_read_is_said_in_one_line",
        "cards/test_robustness.py::test_memory_and_time_are_bounded",
        "cards/test_row_cases.py::test_a_compressed_itxt_bomb",
    ],
    "2 bad zlib": ["cards/test_png.py::test_what_is_odd_is_a_warning"],
    "3 zip bombs and lying sizes": [
        "cards/test_reading.py::test_what_is_refused_and_how",
        "cards/test_reading.py::test_a_lying_size_in_a_zip",
        "cards/test_row_cases.py::test_a_zip_that_says_it_unpacks_to_too_much_is_not_read",
    ],
    "4 paths in zips": [
        "cards/test_reading.py::test_odd_zips_are_read_with_warnings",
        "cards/test_robustness.py::test_nothing_of_a_zip_is_ever_written",
        "cards/test_row_cases.py::test_an_unsafe_name_is_said_and_left",
    ],
    "5 odd zips": [
        "cards/test_reading.py::test_a_password_protected_zip",
        "cards/test_robustness.py::test_a_zip64_file_is_read",
        "cards/test_robustness.py::test_a_64_bit_end_record_is_believed_and_limited",
        "cards/test_robustness.py::test_a_zip_in_a_zip_is_not_opened",
        "cards/test_row_cases.py::test_which_card_of_a_zip_counts",
    ],
    "6 huge and empty pictures": [
        "cards/test_png.py::test_a_card_is_found",
        "cards/test_quirks.py::test_a_portrait_of_too_many_pixels_is_refused_before_it_is_decoded",
        "tui/test_portrait.py::test_what_cannot_be_decoded",
    ],
    "7 bad checksums": ["cards/test_row_cases.py::test_a_bad_checksum_is_said_and_mended_by_an_edit"],
    "8 truncated files": [
        "cards/test_png.py::test_what_is_odd_is_a_warning",
        "cards/test_png.py::test_what_cannot_be_read_is_said_in_one_line",
        "cards/test_row_cases.py::test_wherever_a_png_is_cut_its_card_is_read_or_said_to_be_cut",
    ],
    "9 any place in the file": [
        "cards/test_png.py::test_a_card_is_found",
        "cards/test_row_cases.py::test_what_follows_the_image_is_said_and_dropped_by_an_edit",
    ],
    "10 copies": [
        "cards/test_robustness.py::test_a_card_written_by_an_edit_has_one_copy_of_each_kind",
        "cli/test_card_edit.py::test_of_several_copies_another_is_taken",
    ],
    "11 chara against ccv3": [
        "cards/test_text_forms.py::test_copies_that_differ_in_what_both_hold_are_a_warning",
        "cards/test_text_forms.py::test_a_v3_card_in_our_own_png_is_nothing_odd",
        "cards/test_png.py::test_a_card_is_found",
    ],
    "12 a PNG without a card": ["cards/test_png.py::test_what_cannot_be_read_is_said_in_one_line"],
    "13 base64": ["cards/test_png.py::test_a_card_is_found", "cards/test_row_cases.py::test_base64"],
    "14 encodings": [
        "cards/test_text_forms.py::test_an_encoding",
        "cards/test_texts.py::test_a_card_is_read_as_it_is_with_an_offer_for_each_field",
        "cli/test_card.py::test_mojibake_is_offered_to_be_mended_and_mended_when_asked",
        "cards/test_quirks.py::test_zero_bytes_in_a_text_stay_in_the_card_and_off_the_terminal",
    ],
    "15 odd JSON": [
        "cards/test_reading.py::test_odd_json_is_read_with_a_warning",
        "cards/test_text_forms.py::test_broken_json_names_its_place_and_what_to_do",
        "cards/test_row_cases.py::test_odd_numbers",
    ],
    "16 depth": ["cards/test_reading.py::test_what_is_refused_and_how"],
    "17 lone surrogates": [
        "cards/test_reading.py::test_lone_surrogates_stay",
        "cards/test_row_cases.py::test_a_lone_surrogate_in_every_form",
    ],
    "18 wrong types": [
        f"cards/test_odd_values.py::test_{name}"
        for name in ("a_text", "a_list", "an_object", "assets", "a_date", "a_book", "an_entry")
    ]
    + ["cards/test_reading.py::test_a_card_without_a_name_is_called_after_its_file"],
    "19 shapes": [
        "cards/test_reading.py::test_a_form",
        "cards/test_reading.py::test_newer_versions_are_said",
        "cards/test_row_cases.py::test_a_shape_and_what_is_said_of_it",
    ],
    "20 not a card": ["cards/test_reading.py::test_what_is_refused_and_how"],
    "21 not a file": ["cards/test_reading.py::test_files_that_are_not_files"],
    "22 names": [
        "cards/test_robustness.py::test_a_name_is_never_a_path_and_never_the_id",
        "cards/test_library.py::test_any_name_makes_a_file_name",
        "cards/test_shelf.py::test_a_name_clash",
    ],
    "23 terminal controls": [
        "cards/test_display.py::test_nothing_dangerous_is_left_and_twice_is_once",
        "cli/test_card.py::test_hostile_fields_are_one_harmless_line",
        "tui/test_transcript.py::test_nothing_that_a_terminal_acts_on_is_drawn",
    ],
    "24 bidi, marks and widths": [
        "cards/test_display.py::test_a_single_line",
        "cards/test_display.py::test_the_limit_counts_cells",
    ],
    "25 markup": [
        "tui/test_markup.py::test_finds",
        "cards/test_robustness.py::test_markup_and_html_are_text_to_the_reader",
    ],
    "26 Markdown and HTML": [
        "tui/test_markup.py::test_hostile_text_takes_no_time",
        "cards/test_robustness.py::test_remote_and_local_addresses_are_kept_and_never_opened",
    ],
    "27 prompt tokens": [
        "engine/test_tokens.py::test_hostile_text_stays_text",
        "presets/test_prompt.py::test_hostile_text_arrives_as_it_is_and_untrusted",
        "cards/test_texts.py::test_a_token",
        "cli/test_card.py::test_check_warns_of_prompt_tokens",
    ],
    "28 Jinja": ["presets/test_chat_template.py::test_no_text_becomes_template_or_is_changed_by_it"],
    "29 macro bombs": [
        "cards/test_macros.py::test_a_bomb_is_bounded_in_size_and_time",
        "cards/test_macros.py::test_a_value_is_never_expanded",
    ],
    "30 patterns": [
        "cards/test_lore_rules.py::test_a_pattern_is_stopped_in_time_and_its_entry_says_so",
        "cards/test_lore_rules.py::test_a_pattern_of_a_megabyte_is_not_compiled",
        "cards/test_lore_rules.py::test_patterns_and_their_flags",
    ],
    "31 recursion and blank keys": [
        "cards/test_lorebook.py::test_entries_that_call_each_other_end",
        "cards/test_lore_rules.py::test_a_blank_key_is_no_key",
        "cards/test_quirks.py::test_five_thousand_constant_entries_stay_within_the_budget",
    ],
    "32 too long for the context": [
        "cards/test_robustness.py::test_a_card_larger_than_the_context_loads_and_is_refused_in_words"
    ],
    "33 remote addresses": [
        "cards/test_robustness.py::test_remote_and_local_addresses_are_kept_and_never_opened",
        "cards/test_odd_values.py::test_what_an_asset_names_elsewhere_is_said",
    ],
    "34 scripts and protected cards": [
        "cards/test_robustness.py::test_scripts_of_other_programs_stay_where_they_are_and_never_run",
        "cards/test_reading.py::test_what_is_refused_and_how",
    ],
    "35 YAML": [
        "cards/test_reading.py::test_what_is_refused_and_how",
        "cards/test_row_cases.py::test_yaml_makes_no_objects",
    ],
    "36 saving": [
        "cards/test_library.py::test_saving_is_whole_or_not_at_all",
        "cards/test_library.py::test_a_file_that_another_program_changed_is_not_overwritten",
        "cards/test_shelf.py::test_a_full_disk_is_a_reason_and_leaves_nothing_behind",
    ],
    "37 privacy": [
        "cards/test_writing.py::test_private_keys_stay_home",
        "cards/test_writing.py::test_an_avatar_is_replaced_without_its_metadata",
    ],
    "38 many files": [
        "cards/test_robustness.py::test_a_thousand_cards_and_the_bad_ones_among_them",
        "cards/test_shelf.py::test_an_import_can_be_stopped_between_two_cards",
    ],
}


def test_every_row_has_its_number() -> None:
    assert [int(row.split()[0]) for row in ROWS] == list(range(1, 39))


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_are_there(row: str) -> None:
    for name in ROWS[row]:
        file, function = name.split("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert any(getattr(node, "name", "") == function for node in tree.body), name
