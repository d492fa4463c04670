"""Ini files and switches are read as POV-Ray reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError
from povstorm_client.scene.ini import PovraySettings, read_ini, read_switches


def ini(folder: Path, text: str, *sections: str) -> PovraySettings:
    file = folder / "anim.ini"
    file.write_text(text)
    settings = PovraySettings()
    read_ini(settings, file, sections)
    return settings


def switches(*words: str) -> PovraySettings:
    settings = PovraySettings()
    read_switches(settings, words)
    return settings


SECTIONS = """Quality=3
[320x240, AA 0.3]
Width=320
Height=240
+A0.3
[Large]
Width=1600
[LARGE]
Height=1200
"""


def test_what_precedes_the_first_section_always_applies(tmp_path: Path):
    assert ini(tmp_path, SECTIONS).numbers == {"quality": 3}


@pytest.mark.parametrize("name", ["320x240, AA 0.3", "320X240,  aa 0.3"])
def test_a_section_is_chosen_without_regard_to_case_and_blanks(tmp_path: Path, name: str):
    settings = ini(tmp_path, SECTIONS, name)
    assert settings.numbers == {
        "quality": 3,
        "width": 320,
        "height": 240,
        "antialias_threshold": 0.3,
    }
    assert settings.switched == {"antialias": True}


def test_sections_of_one_name_all_count(tmp_path: Path):
    assert ini(tmp_path, SECTIONS, "large").numbers == {
        "quality": 3,
        "width": 1600,
        "height": 1200,
    }


def test_sections_that_povray_would_not_read_are_told_of(tmp_path: Path):
    assert ini(tmp_path, SECTIONS, "320X240, aa 0.3").warnings == []
    assert (
        "anim.ini:2: POV-Ray does not take [320x240, AA 0.3]"
        in (ini(tmp_path, SECTIONS, "320x240,  AA 0.3").warnings[0])
    )
    assert (
        "the first section alone of [large][320x240, AA 0.3]"
        in (ini(tmp_path, SECTIONS, "large", "320x240, AA 0.3").warnings[0])
    )


def test_an_unknown_section_names_the_known_ones(tmp_path: Path):
    with pytest.raises(InputError, match=r"no section \[huge\].*\[large\]"):
        ini(tmp_path, SECTIONS, "huge")


def test_comments_quotes_blanks_switches_and_line_ends(tmp_path: Path):
    settings = ini(
        tmp_path,
        "; a comment\r\n"
        '  Width = "640" ; wide\r\n'
        "Input_File_Name='my; scene.pov'\r\n"
        '+H480 -J +Q5 +L"a folder"\r\n'
        "# another comment\r\n"
        "Cyclic_Animation=Yes\r\n",
    )
    assert settings.numbers == {"width": 640, "height": 480, "quality": 5}
    assert settings.values == {"input_file_name": "my; scene.pov"}
    assert settings.library_paths == ["a folder"]
    assert settings.switched == {"jitter": False, "cyclic_animation": True}


def test_nested_inis_are_read_relative_to_the_one_that_names_them(tmp_path: Path):
    (tmp_path / "size.ini").write_text("Width=99\n")
    (tmp_path / "clock.ini").write_text("Final_Frame=9\n")
    settings = ini(tmp_path, "Include_Ini=size.ini\nclock.ini\n")
    assert settings.numbers == {"width": 99, "final_frame": 9}


def test_the_switches_for_the_animation_and_the_picture():
    settings = switches(
        "+Iscene.pov", "+W640", "+H480", "+KFI2", "+KFF60", "+KI0.5", "+KF2", "+KC", "+SF3", "+EF9",
        "+A0.2", "+AM2", "+R4", "+J0.5", "+Q7", "+Llib", "+K0.25",
        "Declare=Speed=3", "+UA", "+FN16",
    )  # fmt: skip
    assert settings.values == {"input_file_name": "scene.pov"}
    assert settings.numbers == {
        "width": 640, "height": 480, "initial_frame": 2, "final_frame": 60, "initial_clock": 0.5,
        "final_clock": 2, "subset_start_frame": 3, "subset_end_frame": 9,
        "antialias_threshold": 0.2, "sampling_method": 2, "antialias_depth": 4,
        "jitter_amount": 0.5, "quality": 7,
        "clock": 0.25,
    }  # fmt: skip
    assert settings.switched == {"cyclic_animation": True, "antialias": True, "jitter": True}
    assert list(settings.options.values()) == ["Declare=Speed=3", "Output_Alpha=on", "+FN16"]


@pytest.mark.parametrize(
    "word",
    ["-D", "+D", "+P", "-P", "+V", "-V", "+X50", "+C", "-C", "+WT4", "+GA", "-GA", "+GFlog.txt",
     "+Ofile.png", "+WL5", "-F", "+F", "+DG", "-D0", "Display=on",
     "Pause_When_Done=on", "Test_Abort_Count=50", "Work_Threads=8", "Verbose=off",
     "Create_Ini=x.ini", "Pre_Frame_Command=", "Fatal_Error_Return=Q"],
)  # fmt: skip
def test_options_about_windows_consoles_and_files_are_accepted_and_ignored(word: str):
    settings = switches(word)
    assert settings == PovraySettings()


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("+Zork", "no option '\\+Zork'"),
        ("Heigth=12", "no option 'Heigth=12'"),
        ("Width=wide", "needs a number"),
        ("Cyclic_Animation=maybe", "neither on nor off"),
        ("Pre_Scene_Command=rm -r /", "would run a program"),
        ("Post_Frame_Command=x", "would run a program"),
        ("Fatal_Error_Command=x", "would run a program"),
        ("+SR10", "whole frames"),
        ("Radiosity_To_File=on", "each one by itself"),
        ("+O", r"'\+O' wants its value right behind it.*--output FOLDER"),
        ("+W", r"'\+W' wants its value right behind it, as in \+WVALUE$"),
        ("-KCx", "needs a number"),
        ("Clock=inf", "finite"),
        ("Declare=Speed", "NAME=NUMBER"),
        ("nowhere.ini", "neither an option nor an ini file"),
    ],
)
def test_what_povray_would_refuse_and_what_runs_programs_is_refused(word: str, words: str):
    with pytest.raises(InputError, match=words):
        switches(word)


def test_an_error_in_an_ini_has_file_and_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"anim\.ini:2: .*Heigth"):
        ini(tmp_path, "Width=1\nHeigth=2\n")


def test_the_sign_of_a_switch_that_has_a_value_alone_means_nothing():
    settings = switches("-W640", "-Q3", "-KFF9", "-A0.25")
    assert settings.numbers == {
        "width": 640, "quality": 3, "final_frame": 9, "antialias_threshold": 0.25,
    }  # fmt: skip
    assert settings.switched == {"antialias": False}


def test_switches_share_a_line_and_one_option_ends_it(tmp_path: Path):
    settings = ini(tmp_path, "+kf0.5 +kff20 +kc declare=fp=0 # comment\nWidth=8 +H9\n")
    assert settings.numbers == {"final_clock": 0.5, "final_frame": 20, "width": 8}
    assert list(settings.options.values()) == ["Declare=fp=0"]
    assert "anim.ini:2: POV-Ray ignores '+H9'" in settings.warnings[0]


def test_commas_separate_several_values_of_one_option(tmp_path: Path):
    settings = ini(tmp_path, 'Library_Path=one, "two, too" ,three\nDeclare=a=1, b=2\n')
    assert settings.library_paths == ["one", "two, too", "three"]
    assert list(settings.options.values()) == ["Declare=a=1", "Declare=b=2"]


def test_an_unquoted_path_may_have_blanks(tmp_path: Path):
    assert ini(tmp_path, "Library_Path=my old scenes ; here\n").library_paths == ["my old scenes"]


def test_names_on_their_own_are_scenes_folders_and_inis(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "size.ini").write_text("[big]\nWidth=99\n")
    settings = ini(tmp_path, '"a scene.pov"\nlib/\nsize[big]\n')
    assert settings.values == {"input_file_name": "a scene.pov"}
    assert settings.library_paths == ["lib/"]
    assert settings.numbers == {"width": 99}


def test_an_ini_that_includes_itself_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="included by itself"):
        ini(tmp_path, "Include_Ini=anim.ini\n")


def test_an_unclosed_section_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"anim\.ini:1: section .* no closing bracket"):
        ini(tmp_path, "[320x240\nWidth=320\n")


def test_sixteen_bits_are_asked_for_as_povray_wants_it():
    assert list(switches("+FN16").options.values()) == ["+FN16"]
    assert list(switches("Bits_Per_Color=16").options.values()) == ["+FN16"]
    assert switches("Output_File_Type=N16").options == {}
    assert list(switches("+FNg").options.values()) == ["Grayscale_Output=on"]


def test_another_file_type_is_answered_with_a_warning():
    assert "PNG" in switches("+FT").warnings[0]
    assert switches("+FN").warnings == []


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("+FE", ["+FE"]),
        ("+FH", ["+FH"]),
        ("Output_File_Type=E", ["+FE"]),
        ("Output_File_Type=hdr", ["+FH"]),
        ("+FN16 +FE", ["+FN16", "+FE"]),
        # Bits alone make no PNG of it, as POV-Ray takes them (tried); +FN does.
        ("+FE Bits_Per_Color=16", ["+FN16", "+FE"]),
        ("+FE +FN16", ["+FN16"]),
        ("+FE Output_File_Type=N", []),
        ("+FE +FH", ["+FH"]),
    ],
)
def test_images_without_bounds_are_asked_for_as_povray_takes_it(words: str, options: list[str]):
    read = switches(*words.split())
    assert list(read.options.values()) == options
    assert read.warnings == []


KEYS = {
    "Width": st.integers(1, 9999),
    "Height": st.integers(1, 9999),
    "Initial_Frame": st.integers(0, 99),
    "Final_Frame": st.integers(0, 99),
    "Initial_Clock": st.floats(-10, 10),
    "Final_Clock": st.floats(-10, 10),
}


def test_of_several_declares_of_one_name_the_first_counts():
    read = switches("Declare=Q=.25", "declare=Q=.5", "Declare=q=1")
    assert list(read.options.values()) == ["Declare=Q=0.25", "Declare=q=1"]


def test_of_several_values_of_any_other_option_the_last_counts():
    read = switches("+UA", "Bits_Per_Color=8", "+FN16", "Output_Alpha=off", "+W3", "Width=4")
    assert list(read.options.values()) == ["Output_Alpha=off", "+FN16"]
    assert read.numbers == {"width": 4}


def test_the_sizes_of_the_mosaic_preview_are_handed_on():
    assert list(switches("+SP64", "-EP8").options.values()) == [
        "Preview_Start_Size=64",
        "Preview_End_Size=8",
    ]


@pytest.mark.parametrize(
    ("word", "key", "number"),
    [
        ("Final_Frame=1e3", "final_frame", 1),
        ("Final_Frame=2.9", "final_frame", 2),
        ("Final_Frame=4x", "final_frame", 4),
        ("Final_Frame=100  0", "final_frame", 100),
        ("+KF0x10", "final_clock", 16),
        ("+KF1e-30", "final_clock", 1e-30),
        ("+KF2.5s", "final_clock", 2.5),
        ("+SF0.5", "subset_start_frame", 0.5),
        ("+SF1.9", "subset_start_frame", 1),
        ("+SF05", "subset_start_frame", 5),
        ("Subset_Start_Frame=1.9", "subset_start_frame", 1.9),
    ],
)
def test_a_number_is_what_sscanf_reads_of_it(word: str, key: str, number: float):
    assert switches(word).numbers == {key: number}


@pytest.mark.parametrize("word", ["+KFF2147483648", "+KF1e400", "+KFnan", "Final_Frame=x"])
def test_what_povray_would_misread_without_a_word_is_refused(word: str):
    with pytest.raises(InputError, match=r"needs a .*number"):
        switches(word)


def test_words_for_on_may_be_cut_short_or_go_on():
    for word in ("o", "on", "once", "TRUE", "y", "1st", ""):
        assert switches(f"Jitter={word}").switched == {"jitter": True}, word
    for word in ("off", "offline", "f", "no", "0"):
        assert switches(f"Jitter={word}").switched == {"jitter": False}, word


def test_a_value_with_blanks_ends_where_an_option_begins(tmp_path: Path):
    settings = ini(tmp_path, "Library_Path=my old, scenes ; x\nLibrary_Path=one Height=9\n")
    assert settings.library_paths == ["my old, scenes", "one"]
    assert settings.numbers == {}


@given(
    st.lists(st.sampled_from(list(KEYS)).flatmap(lambda k: st.tuples(st.just(k), KEYS[k]))),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["{}={}", " {} = {} ", "{}={} ; comment", '{}="{}"', "{}={}\n\n;\n"]),
)
def test_the_last_value_of_each_key_counts_however_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, settings: list, end: str, form: str
):
    text = "".join(form.format(key.upper(), value) + end for key, value in settings)
    read = ini(tmp_path_factory.mktemp("ini"), text)
    assert read.numbers == {key.casefold(): value for key, value in settings}


# Tried with POV-Ray 3.7.0.10.
@pytest.mark.parametrize(
    ("word", "alone"),
    [
        ("+KFF3 +KF2", ["+KFF3", "+KF2"]),
        ("+W33 Height=44", ["+W33", "Height=44"]),
        ("Width=33 Height = 44", ["Width=33", "Height = 44"]),
        ("Quality=3 +H20\t-D", ["Quality=3", "+H20", "-D"]),
        (" +W33 ", ["+W33"]),
        ("+W33 scene.pov", ["+W33", "scene.pov"]),
        ('+L"d e" +W33', ['+L"d e"', "+W33"]),
        ("Library_Path='d e' +W33", ["Library_Path='d e'", "+W33"]),
        ("Declare=A=3 Declare=B=4", ["Declare=A=3", "Declare=B=4"]),
        ("", []),
    ],
)
def test_a_shell_word_with_blanks_is_taken_apart_as_by_povray(word: str, alone: list[str]):
    assert switches(word) == switches(*alone)


@pytest.mark.parametrize("word", ["+Lmy folder", "Library_Path=my folder", "+L/a b/c d/"])
def test_a_path_with_blanks_that_povray_would_refuse_stays_in_one(word: str):
    assert switches(word).library_paths == [word.removeprefix("+L").rpartition("=")[2]]


def test_a_sections_name_and_a_files_may_have_blanks(tmp_path: Path):
    (tmp_path / "my anim.ini").write_text("[320x240, AA 0.3]\nWidth=320\n")
    settings = PovraySettings()
    read_switches(settings, ["my anim.ini[320x240, AA 0.3]", "+H9 -D"], folder=tmp_path)
    assert settings.numbers == {"width": 320, "height": 9}


@pytest.mark.parametrize(
    "word", ["Antialias_Confidence=0.9", "+AC0.99", "stochastic_seed=7", "+SS12", "+CC"]
)
def test_an_option_of_a_newer_povray_is_named_as_such(tmp_path: Path, word: str):
    with pytest.raises(InputError, match=r"is an option of POV-Ray 3\.8"):
        switches(word)
    with pytest.raises(InputError, match=r"anim\.ini:1: .* is an option of POV-Ray 3\.8"):
        ini(tmp_path, f"{word}\n")
